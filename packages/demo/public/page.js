import { Chat } from './chat.js';
import { createConnection } from './connection.js';
import { startDeploy } from './deploy.js';
import { byId, setText } from './dom.js';
import { startPool } from './pool.js';
import { pollShow } from './show.js';
import { startTabs } from './tabs.js';

const NAMES = [
  'Ada',
  'Alan',
  'Barbara',
  'Dennis',
  'Edsger',
  'Grace',
  'Hedy',
  'Katherine',
  'Linus',
  'Margaret',
  'Radia',
  'Tim',
];

let view = 'chat';
let namespace = '';

const connection = createConnection({
  welcome: (message) => {
    showStatus('online', `${message.name}, you are on ${message.node}`);
    byId('leave').hidden = false;
    chat.welcome(message);
  },
  message: (message) => chat.message(message),
  away: (reason) => showStatus('waiting', `Disconnected (${reason}); coming back`),
  final: (text) => {
    showStatus('offline', text);
    byId('leave').hidden = true;
    chat.left();
    chat.note(text);
  },
  news: (text) => {
    setText(byId('news'), text);
    chat.note(text);
  },
});
const chat = new Chat(connection);
const showDeploy = startDeploy(() => connection.node);
const showPool = startPool();

function connect() {
  const chosen = byId('namespace').value.trim();
  if (namespace !== '' && chosen !== namespace) chat.forget();
  namespace = chosen;
  sessionStorage.setItem('name', byId('name').value);
  showStatus('waiting', 'Connecting…');
  setText(byId('news'), '');
  connection.open(namespace, byId('name').value);
}

function showStatus(state, text) {
  byId('status').dataset.state = state;
  setText(byId('status'), text);
}

byId('you').addEventListener('submit', (event) => {
  event.preventDefault();
  connect();
});
byId('leave').addEventListener('click', () => connection.leave());

startTabs((chosen) => (view = chosen));
pollShow(
  (state, controls) => {
    const canControl = controls === 'on';
    setText(byId('lost'), '');
    for (const text of document.querySelectorAll('.no-controls')) setText(text, canControl ? '' : controls);
    for (const control of document.querySelectorAll('[data-control]')) control.disabled = !canControl;
    setText(
      byId('processes'),
      state.nodes.length === 1 ? 'One process answers' : `${state.nodes.length} processes answer`,
    );
    if (view === 'chat') return;
    showDeploy(state, canControl);
    showPool(state);
  },
  () => setText(byId('lost'), 'The server does not answer. This page goes on as soon as it does.'),
);

// Another name in each tab, until two of them choose the same.
byId('name').value = sessionStorage.getItem('name') ?? NAMES[Math.floor(Math.random() * NAMES.length)];
connect();
