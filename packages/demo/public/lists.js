import { byId, element, setText } from './dom.js';

/** @param rooms by name; `choose` is called with the name of one */
export function showRooms(rooms, current, choose) {
  const items = [...rooms].map(([name, { isNew, users, more }]) => {
    const button = createButton({ className: 'quiet', key: name }, () => choose(name));
    button.append(`# ${name}`);
    if (users.size > 0) button.append(element('small', {}, ` ${users.size + more}`));
    if (isNew) button.append(element('span', { className: 'new', textContent: ' new' }));
    if (name === current) button.setAttribute('aria-current', 'true');
    return element('li', {}, button);
  });
  replaceItems(byId('rooms'), items);
}

/** @param on `write(name)` and `kick(name)`: what the buttons do */
export function showMembers({ users, more }, ownName, on) {
  setText(byId('count'), String(users.size + more));
  setText(byId('more'), more > 0 ? `and ${more} more` : '');
  const items = [...users].map(([name, tabs]) => {
    const label = element('span', { className: 'name' }, name);
    if (tabs > 1) label.append(element('small', {}, ` ${tabs} tabs`));
    if (name === ownName) return element('li', {}, label, element('small', { textContent: 'you' }));
    const className = 'quiet small';
    const write = createButton({ className, key: `write ${name}` }, () => on.write(name));
    Object.assign(write, { textContent: 'Write', ariaLabel: `Write to ${name} only` });
    const kick = createButton({ className, key: `kick ${name}` }, () => on.kick(name));
    Object.assign(kick, { textContent: 'Kick', ariaLabel: `Kick ${name}` });
    return element('li', {}, label, element('span', { className: 'buttons' }, write, kick));
  });
  replaceItems(byId('members'), items);
}

/** To whom one can write in private. */
export function showRecipients(rooms, ownName) {
  const chosen = byId('to').value;
  const names = new Set([...rooms.values()].flatMap(({ users }) => [...users.keys()]));
  names.delete(ownName);
  // The one whom we write to in private stays chosen, or the next message would go to everybody.
  if (chosen) names.add(chosen);
  const options = [...names].map((name) => new Option(`${name} only`, name, false, name === chosen));
  byId('to').replaceChildren(new Option('Everybody here', ''), ...options);
}

function createButton({ className, key }, onClick) {
  const button = element('button', { type: 'button', className });
  button.dataset.key = key;
  button.addEventListener('click', onClick);
  return button;
}

/** The keyboard stays on the same button, and never comes to that of another user in its place. */
function replaceItems(list, items) {
  const { key } = list.contains(document.activeElement) ? document.activeElement.dataset : {};
  list.replaceChildren(...items);
  if (key === undefined) return;
  const same = [...list.querySelectorAll('button')].find((button) => button.dataset.key === key);
  (same ?? list).focus();
}
