export const byId = (id) => document.getElementById(id);

/** Children that are strings become text, never HTML. */
export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

/** Changes what is on the page only if it is another text: a screen reader would read it again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export const formatNumber = (value) => number.format(value);

export function formatBytes(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${number.format(bytes / 1024 ** power)} ${UNITS[power]}`;
}

/** `node 2` -> `Node 2` */
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);
