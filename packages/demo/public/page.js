const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
const MAX_LOG_ENTRIES = 500;
/** After these the server does not want us back: we left (1000), cannot join like this (1008), or from here (4403). */
const FINAL_CLOSE_CODES = new Set([1000, 1008, 4403]);

const byId = (id) => document.getElementById(id);
const [joinForm, chat, sayForm, log] = ['join', 'chat', 'say', 'log'].map(byId);

/** Id -> name of those who are here. */
const members = new Map();
let ownId;
let socket;
let retry;
let retries = 0;
/** Between Join and Leave: whether a lost connection is to be made again. */
let isWanted = false;

joinForm.addEventListener('submit', (event) => {
  event.preventDefault();
  if (isWanted) return;
  isWanted = true;
  retries = 0;
  connect();
});

byId('leave').addEventListener('click', () => {
  isWanted = false;
  clearTimeout(retry);
  // Between two attempts there is no socket that could tell us that it has closed.
  if (socket.readyState === WebSocket.CLOSED) showJoinForm('Not connected');
  else socket.close(1000);
});

sayForm.addEventListener('submit', (event) => {
  event.preventDefault();
  if (socket.readyState !== WebSocket.OPEN) return note('Not sent: not connected', 'error');
  const to = byId('to').value;
  send({ type: 'say', text: byId('text').value, ...(to && { to }) });
  byId('text').value = '';
});

function connect() {
  showStatus('waiting', 'Connecting…');
  const query = new URLSearchParams({ namespace: byId('namespace').value, name: byId('name').value });
  socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/ws?${query}`);
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data);
    receive[message.type]?.(message);
  });
  socket.addEventListener('close', onClose);
}

function send(message) {
  socket.send(JSON.stringify(message));
}

function onClose({ code, reason }) {
  members.clear();
  showMembers();
  const isFinal = FINAL_CLOSE_CODES.has(code);
  if (isFinal) isWanted = false;
  if (!isWanted) return showJoinForm(isFinal && code !== 1000 ? `Refused: ${reason}` : 'Not connected');
  // A random part of the whole time, or all clients of a restarted server would come back at the same instant.
  const waitMs = Math.random() * Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** retries++);
  showStatus('waiting', `Disconnected (${reason || code}); next attempt in ${Math.ceil(waitMs / 1000)} s`);
  retry = setTimeout(connect, waitMs);
}

const receive = {
  welcome({ id, members: list, stats }) {
    retries = 0;
    ownId = id;
    for (const member of list) members.set(member.id, member.name);
    byId('where').textContent = byId('namespace').value.trim();
    joinForm.hidden = true;
    chat.hidden = false;
    showStatus('online', 'Connected');
    showMembers();
    receive.stats({ stats });
    note('You have joined', 'note');
    byId('text').focus();
  },
  joined({ member }) {
    members.set(member.id, member.name);
    showMembers();
    note(`${member.name} has joined`, 'note');
  },
  left({ member }) {
    members.delete(member.id);
    showMembers();
    note(`${member.name} has left`, 'note');
  },
  said({ from, to, text }) {
    const sender = element('strong', from.id === ownId ? 'You' : from.name);
    const recipient = to ? ` to ${to.id === ownId ? 'you' : to.name} only` : '';
    append(to ? 'private' : '', sender, `${recipient}: ${text}`);
  },
  stats({ stats }) {
    const entries = Object.entries(stats).map(([name, value]) => {
      const entry = document.createElement('div');
      entry.append(element('dt', spaced(name)), element('dd', value.toLocaleString('en')));
      return entry;
    });
    byId('stats').replaceChildren(...entries);
  },
  error({ message }) {
    note(message, 'error');
  },
};

function showMembers() {
  const chosen = byId('to').value;
  const others = new Map(members);
  others.delete(ownId);
  // Whom one writes to in private stays chosen, or the next message would go to everybody.
  if (chosen && !others.has(chosen)) others.set(chosen, 'Gone');
  byId('count').textContent = members.size;
  byId('members').replaceChildren(...[...members].map(listItem));
  byId('to').replaceChildren(
    new Option('Everybody', ''),
    ...[...others].map(([id, name]) => new Option(`${name} (${shortId(id)})`, id, false, id === chosen)),
  );
}

function listItem([id, name]) {
  const item = element('li', name);
  // Names need not be unique; ids are.
  item.append(' ', element('small', id === ownId ? 'you' : shortId(id)));
  return item;
}

function showJoinForm(status) {
  chat.hidden = true;
  joinForm.hidden = false;
  log.replaceChildren();
  byId('to').value = '';
  showStatus('offline', status);
}

function showStatus(state, text) {
  byId('status').dataset.state = state;
  byId('status').textContent = text;
}

function note(text, className) {
  append(className, text);
}

function append(className, ...content) {
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const item = element('p', '');
  item.className = className;
  // Text nodes only: what others write never becomes HTML.
  item.append(...content);
  log.append(item);
  if (log.childElementCount > MAX_LOG_ENTRIES) log.firstElementChild.remove();
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function element(tag, text) {
  const created = document.createElement(tag);
  created.textContent = text;
  return created;
}

const shortId = (id) => id.slice(0, 4);
const spaced = (name) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
