import { byId, element, setText } from './dom.js';
import { showMembers, showRecipients, showRooms } from './lists.js';
import { Room } from './room.js';

const FIRST_ROOMS = ['general', 'random'];
const TYPING_INTERVAL_MS = 2_000;

/** The chat, as one user sees it in one tab. */
export class Chat {
  #connection;
  /** By name. */
  #rooms = new Map();
  #current = '';
  #ownName = '';
  #typedAtMs = 0;

  constructor(connection) {
    this.#connection = connection;
    onSubmit('say', () => this.#say(byId('text').value));
    byId('text').addEventListener('input', () => this.#type());
    // As the server spells it: its messages name the room.
    onSubmit('enter', () => this.#enter(byId('room').value.normalize().trim()));
    byId('leave-room').addEventListener('click', () => this.#leaveRoom());
    for (const name of FIRST_ROOMS) this.#enter(name);
    this.#show(FIRST_ROOMS[0]);
  }

  /** The server has let us in, perhaps once more: it knows nothing of our rooms. */
  welcome({ name }) {
    if (name !== this.#ownName) for (const room of this.#rooms.values()) room.forgetUsers();
    this.#ownName = name;
    for (const room of this.#rooms.keys()) this.#connection.send({ type: 'join', room });
    this.#showMembers();
  }

  message(message) {
    switch (message.type) {
      case 'members':
        return this.#onMembers(message);
      case 'said':
        return this.#onSaid(message);
      case 'whispered':
        return this.#onWhispered(message);
      case 'typing':
        return this.#onTyping(message);
      case 'error':
        return this.note(message.message, 'error');
    }
  }

  /** Something that only this page has to say. */
  note(text, className = 'note') {
    this.#append(this.#current, className, text);
  }

  /** We have left for good: who is there is not known any more. */
  left() {
    for (const room of this.#rooms.values()) room.forgetUsers();
    this.#show(this.#current);
  }

  /** In another namespace nothing of what was said is known. */
  forget() {
    for (const room of this.#rooms.values()) Object.assign(room, { lines: [], isNew: false });
    byId('to').value = '';
    this.left();
  }

  #onMembers({ room, users, more }) {
    const known = this.#rooms.get(room);
    if (!known) return;
    const tabs = new Map(users.map(({ name, tabs }) => [name, tabs]));
    known.setUsers(tabs, more, (name, what) => this.#append(room, 'note', `${name} ${what}`));
    if (room === this.#current) this.#showMembers();
    this.#showRooms();
  }

  #onSaid({ room, from, text }) {
    this.#rooms.get(room)?.stopTyping(from);
    this.#append(room, '', this.#sender(from), `: ${text}`);
    this.#showTyping();
  }

  #onWhispered({ from, to, text }) {
    const recipient = to === this.#ownName ? 'you' : to;
    this.#append(this.#current, 'private', this.#sender(from), ' to ', isolated(recipient), ` only: ${text}`);
  }

  #onTyping({ room, user }) {
    this.#rooms.get(room)?.startTyping(user, () => this.#showTyping());
    this.#showTyping();
  }

  #sender(name) {
    return element('strong', {}, name === this.#ownName ? 'You' : isolated(name));
  }

  #say(text) {
    const to = byId('to').value;
    const message = to ? { type: 'whisper', to, text } : { type: 'say', room: this.#current, text };
    if (!this.#send(message)) return;
    byId('text').value = '';
    this.#typedAtMs = 0;
  }

  #type() {
    const now = performance.now();
    const isTold = this.#typedAtMs > 0 && now - this.#typedAtMs < TYPING_INTERVAL_MS;
    if (isTold || byId('to').value) return;
    if (this.#connection.send({ type: 'typing', room: this.#current })) this.#typedAtMs = now;
  }

  #enter(name) {
    byId('room').value = '';
    if (name === '') return;
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room());
    this.#connection.send({ type: 'join', room: name });
    this.#show(name);
  }

  #leaveRoom() {
    // At least one room stays, to have something to show.
    if (this.#rooms.size === 1) return this.note('This is the last room that you are in');
    this.#connection.send({ type: 'leave', room: this.#current });
    this.#rooms.get(this.#current).forgetUsers();
    this.#rooms.delete(this.#current);
    this.#show(this.#rooms.keys().next().value);
  }

  #send(message) {
    const isSent = this.#connection.send(message);
    if (!isSent) this.note('Not sent: not connected', 'error');
    return isSent;
  }

  #append(name, className, ...content) {
    const room = this.#rooms.get(name);
    if (!room) return;
    const log = byId('log');
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const { line, old } = room.append(className, ...content);
    if (name === this.#current) {
      old?.remove();
      log.append(line);
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    } else if (className !== 'note') {
      room.isNew = true;
      this.#showRooms();
    }
  }

  #show(name) {
    this.#current = name;
    const room = this.#rooms.get(name);
    room.isNew = false;
    setText(byId('room-title'), `# ${name}`);
    byId('log').replaceChildren(...room.lines);
    byId('log').scrollTop = byId('log').scrollHeight;
    this.#showRooms();
    this.#showMembers();
    this.#showTyping();
  }

  #showRooms() {
    showRooms(this.#rooms, this.#current, (name) => this.#show(name));
  }

  #showMembers() {
    showMembers(this.#rooms.get(this.#current), this.#ownName, {
      write: (name) => {
        byId('to').value = name;
        byId('text').focus();
      },
      kick: (user) => this.#send({ type: 'kick', user }),
    });
    showRecipients(this.#rooms, this.#ownName);
  }

  #showTyping() {
    const names = this.#rooms.get(this.#current).typing;
    const are = names.length === 1 ? 'is' : 'are';
    setText(byId('typing'), names.length === 0 ? '' : `${names.join(', ')} ${are} typing…`);
  }
}

/** A name that is written from right to left does not turn the text around it. */
function isolated(name) {
  return element('bdi', {}, name);
}

function onSubmit(form, submit) {
  byId(form).addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
}
