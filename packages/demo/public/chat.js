import { byId, element, setText } from './dom.js';

const FIRST_ROOMS = ['general', 'random'];
const MAX_LOG_ENTRIES = 300;
const TYPING_INTERVAL_MS = 2_000;
const TYPING_SHOWN_MS = 3_000;
/** In a deploy everybody goes and comes back within seconds. */
const GONE_AFTER_MS = 3_000;

/** The chat, as one user sees it in one tab. */
export function startChat(connection) {
  const log = byId('log');
  const sayForm = byId('say');
  /** Name of the room -> its lines, its users, who types there, and whether there is something new. */
  const rooms = new Map();
  let current;
  let ownName = '';
  let typedAtMs = 0;

  const send = (message) => {
    if (connection.send(message)) return true;
    note('Not sent: not connected', 'error');
    return false;
  };

  function enter(room) {
    if (!rooms.has(room))
      rooms.set(room, { lines: [], users: new Map(), leaving: new Map(), typing: new Map(), isNew: false });
    if (connection.isOpen) connection.send({ type: 'join', room });
    show(room);
  }

  function show(room) {
    current = room;
    const { lines } = rooms.get(room);
    rooms.get(room).isNew = false;
    setText(byId('room-title'), `# ${room}`);
    log.replaceChildren(...lines);
    log.scrollTop = log.scrollHeight;
    showRooms();
    showMembers();
    showTyping();
  }

  function showRooms() {
    const items = [...rooms].map(([room, { isNew, users }]) => {
      const button = element('button', { type: 'button', className: 'quiet' }, `# ${room}`);
      if (users.size > 0) button.append(element('small', {}, ` ${users.size}`));
      if (isNew) button.append(element('span', { className: 'new', textContent: ' new' }));
      if (room === current) button.setAttribute('aria-current', 'true');
      button.addEventListener('click', () => show(room));
      return element('li', {}, button);
    });
    keepFocus(byId('rooms'), items);
  }

  function showMembers() {
    const { users } = rooms.get(current);
    setText(byId('count'), String(users.size));
    const items = [...users].map(([name, tabs]) => {
      const label = element('span', { className: 'name' }, name);
      if (tabs > 1) label.append(element('small', {}, ` ${tabs} tabs`));
      if (name === ownName) return element('li', {}, label, element('small', { textContent: 'you' }));
      const write = element('button', {
        type: 'button',
        className: 'quiet small',
        textContent: 'Write',
        ariaLabel: `Write to ${name} only`,
      });
      write.addEventListener('click', () => {
        byId('to').value = name;
        byId('text').focus();
      });
      const kick = element('button', {
        type: 'button',
        className: 'quiet small',
        textContent: 'Kick',
        ariaLabel: `Kick ${name}`,
      });
      kick.addEventListener('click', () => send({ type: 'kick', user: name }));
      return element('li', {}, label, element('span', { className: 'buttons' }, write, kick));
    });
    keepFocus(byId('members'), items);
    showRecipients();
  }

  function showRecipients() {
    const chosen = byId('to').value;
    const names = new Set([...rooms.values()].flatMap(({ users }) => [...users.keys()]));
    names.delete(ownName);
    // The one whom we write to in private stays chosen, or the next message would go to everybody.
    if (chosen) names.add(chosen);
    const options = [...names].map((name) => new Option(`${name} only`, name, false, name === chosen));
    byId('to').replaceChildren(new Option('Everybody here', ''), ...options);
  }

  function showTyping() {
    const names = [...rooms.get(current).typing.keys()];
    setText(
      byId('typing'),
      names.length === 0 ? '' : `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`,
    );
  }

  function append(room, className, ...content) {
    const known = rooms.get(room);
    if (!known) return;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    // Text nodes only: what others write never becomes HTML.
    const line = element('p', { className }, ...content);
    known.lines.push(line);
    const old = known.lines.length > MAX_LOG_ENTRIES ? known.lines.shift() : undefined;
    if (room === current) {
      old?.remove();
      log.append(line);
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    } else if (!known.isNew && className !== 'note') {
      known.isNew = true;
      showRooms();
    }
  }

  const note = (text, className = 'note') => append(current, className, text);

  const receive = {
    members({ room, users, more }) {
      const known = rooms.get(room);
      if (!known) return;
      const isFirst = known.users.size === 0;
      const names = new Map(users.map(({ name, tabs }) => [name, tabs]));
      for (const name of names.keys()) {
        clearTimeout(known.leaving.get(name));
        const wasHere = known.leaving.delete(name) || known.users.has(name);
        if (!isFirst && !wasHere) append(room, 'note', `${name} has joined`);
      }
      for (const name of known.users.keys()) {
        if (names.has(name) || known.leaving.has(name)) continue;
        const leave = () => {
          known.leaving.delete(name);
          append(room, 'note', `${name} has left`);
        };
        known.leaving.set(name, setTimeout(leave, GONE_AFTER_MS));
      }
      known.users = names;
      if (room === current) {
        showMembers();
        setText(byId('more'), more > 0 ? `and ${more} more` : '');
      }
      showRooms();
    },
    said({ room, from, text }) {
      rooms.get(room)?.typing.delete(from);
      append(room, '', element('strong', { textContent: from === ownName ? 'You' : from }), `: ${text}`);
      showTyping();
    },
    whispered({ from, to, text }) {
      const sender = element('strong', { textContent: from === ownName ? 'You' : from });
      append(current, 'private', sender, ` to ${to === ownName ? 'you' : to} only: ${text}`);
    },
    typing({ room, user }) {
      const known = rooms.get(room);
      if (!known) return;
      clearTimeout(known.typing.get(user));
      const end = () => {
        known.typing.delete(user);
        showTyping();
      };
      known.typing.set(user, setTimeout(end, TYPING_SHOWN_MS));
      showTyping();
    },
    error({ message }) {
      note(message, 'error');
    },
  };

  sayForm.addEventListener('submit', (event) => {
    event.preventDefault();
    const to = byId('to').value;
    const text = byId('text').value;
    if (!send(to ? { type: 'whisper', to, text } : { type: 'say', room: current, text })) return;
    byId('text').value = '';
    typedAtMs = 0;
  });
  byId('text').addEventListener('input', () => {
    const now = performance.now();
    if (byId('to').value || !connection.isOpen || (typedAtMs > 0 && now - typedAtMs < TYPING_INTERVAL_MS))
      return;
    typedAtMs = now;
    connection.send({ type: 'typing', room: current });
  });
  byId('enter').addEventListener('submit', (event) => {
    event.preventDefault();
    const room = byId('room').value.trim();
    if (room) enter(room);
    byId('room').value = '';
  });
  byId('leave-room').addEventListener('click', () => {
    // At least one room stays, to have something to show.
    if (rooms.size === 1) return note('This is the last room that you are in');
    connection.send({ type: 'leave', room: current });
    rooms.delete(current);
    show(rooms.keys().next().value);
  });

  for (const room of FIRST_ROOMS) enter(room);
  show(FIRST_ROOMS[0]);
  return {
    welcome({ name }) {
      if (name !== ownName) for (const room of rooms.values()) room.users = new Map();
      ownName = name;
      for (const room of rooms.keys()) connection.send({ type: 'join', room });
      showMembers();
    },
    message: (message) => receive[message.type]?.(message),
    note,
    /** In another namespace nothing of what was said is known. */
    forget() {
      for (const room of rooms.values()) Object.assign(room, { lines: [], users: new Map(), isNew: false });
      show(current);
    },
  };
}

/** Replaces the items of a list; the keyboard stays where it was. */
function keepFocus(list, items) {
  const index = [...list.querySelectorAll('button')].indexOf(document.activeElement);
  list.replaceChildren(...items);
  if (index >= 0) list.querySelectorAll('button')[index]?.focus();
}
