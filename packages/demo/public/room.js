import { element } from './dom.js';

const MAX_LINES = 300;
const TYPING_SHOWN_MS = 3_000;
/** In a deploy everybody goes and comes back within seconds. */
const GONE_AFTER_MS = 3_000;

/** What this tab knows of a room. */
export class Room {
  /** What was said, as paragraphs: the oldest first. */
  lines = [];
  /** Who is here: name -> tabs. */
  users = new Map();
  /** As many are here besides: the server names 200. */
  more = 0;
  /** Whether there is something that was not shown yet. */
  isNew = false;
  /** Name -> the timer that ends it. */
  #typing = new Map();
  #leaving = new Map();

  /** Names of those who type now. */
  get typing() {
    return [...this.#typing.keys()];
  }

  /** @returns the line, and the oldest one if there was no room for it any more */
  append(className, ...content) {
    // Text nodes only: what others write never becomes HTML.
    const line = element('p', { className }, ...content);
    this.lines.push(line);
    return { line, old: this.lines.length > MAX_LINES ? this.lines.shift() : undefined };
  }

  /** Until they have said it, or for a while. */
  startTyping(name, onEnd) {
    this.stopTyping(name);
    const end = () => {
      this.#typing.delete(name);
      onEnd();
    };
    this.#typing.set(name, setTimeout(end, TYPING_SHOWN_MS));
  }

  stopTyping(name) {
    clearTimeout(this.#typing.get(name));
    this.#typing.delete(name);
  }

  /** @param onChange called with each name and what has become of it, if everybody here is named */
  setUsers(users, more, onChange) {
    if (this.users.size > 0 && this.more === 0 && more === 0) this.#compare(users, onChange);
    this.users = users;
    this.more = more;
  }

  #compare(users, onChange) {
    for (const name of users.keys()) {
      clearTimeout(this.#leaving.get(name));
      const wasHere = this.#leaving.delete(name) || this.users.has(name);
      if (!wasHere) onChange(name, 'has joined');
    }
    for (const name of this.users.keys()) {
      if (users.has(name)) continue;
      const leave = () => {
        this.#leaving.delete(name);
        onChange(name, 'has left');
      };
      this.#leaving.set(name, setTimeout(leave, GONE_AFTER_MS));
    }
  }

  /** Nothing is known of who is here, and nothing more is told of those who were. */
  forgetUsers() {
    for (const timer of [...this.#typing.values(), ...this.#leaving.values()]) clearTimeout(timer);
    this.#typing.clear();
    this.#leaving.clear();
    this.users = new Map();
    this.more = 0;
  }
}
