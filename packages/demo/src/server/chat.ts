import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { CloseCode, ConnectionsPool, type ClusterAdapter, type Connection } from '@soketi/connections';
import type { WebSocket } from 'ws';
import { check, Newcomer, parse, type Message, type ServerMessage } from './protocol.js';

/** Far more than a chat needs: a client that is this much behind has stopped reading. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** A close reason holds 123 bytes; a character that is cut in the middle becomes 3 bytes (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 120;
/** One of them is the room of the user. */
const MAX_ROOMS = 11;

/** The result of `authenticate`, which stays with the connection. */
export type Member = Connection<string, string, WebSocket, { readonly name: string }>;
export type Chat = ConnectionsPool<string, Member>;

/** The other nodes, if this chat is one of several. */
export interface ChatOptions {
  /** Connects to the other nodes. @default none: this is the only process */
  readonly adapter?: ClusterAdapter | undefined;
  /** The name of this node, which clients are told. @default 'node 1' */
  readonly nodeName?: string | undefined;
}

// Clients choose the names of rooms and users: the prefixes keep them apart.
export const roomOf = (name: string): string => `room:${name}`;
export const userRoomOf = (name: string): string => `user:${name}`;

/** The pool, which is the only register of who is connected, and the handling of each message. */
export function createChat({ adapter, nodeName = 'node 1' }: ChatOptions = {}): Chat {
  const chat: Chat = new ConnectionsPool<string, Member>({
    heartbeat: { interval: 10_000 },
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    maxRoomsPerConnection: MAX_ROOMS,
    // Nobody types faster: the client is closed with 1008.
    rateLimit: { messagesPerSecond: 50, burst: 100 },
    adapter,
    cluster: { nodeName },
  });
  chat.on('connection', (member) => {
    member.on('message', (data) => hear(chat, member, data));
    tell(member, { type: 'welcome', id: member.id, name: member.data.name, node: nodeName });
  });
  chat.on('error', (error, member) => console.warn(`${member?.id ?? 'pool'}: ${error.message}`));
  return chat;
}

/**
 * Identifies the client. Nobody has an account here, so `?namespace=lobby&name=Ada` is enough, and the name is the
 * user. Your application looks up a session instead, and returns `{ status: 401 }` without one.
 */
export function newcomer({ url = '' }: IncomingMessage) {
  const query = Object.fromEntries(new URL(url, 'http://localhost').searchParams);
  const checked = check(Newcomer, query);
  if (!checked.ok) {
    const reason = Buffer.from(checked.problem).subarray(0, MAX_REASON_BYTES).toString();
    return { status: 400, closeCode: CloseCode.PolicyViolation, reason };
  }
  const { namespace, name } = checked.value;
  // Each tab has an id of its own, made by the server; the user is a room.
  return { id: randomUUID(), namespace, rooms: userRoomOf(name), data: { name } };
}

function hear(chat: Chat, member: Member, data: string | Uint8Array): void {
  const message = parse(data);
  if (message.ok) obey(chat, member, message.value);
  else refuse(member, 'BAD_MESSAGE', message.problem);
}

function obey(chat: Chat, member: Member, message: Message): void {
  switch (message.type) {
    case 'join':
      join(member, message.room);
      break;
    case 'leave':
      member.leave(roomOf(message.room));
      break;
    case 'say':
      say(chat, member, message.room, message.text);
      break;
    case 'typing':
      tellOfTyping(chat, member, message.room);
      break;
    case 'whisper':
      void whisper(chat, member, message.to, message.text);
      break;
    case 'kick':
      void kick(chat, member, message.user);
  }
}

function join(member: Member, room: string): void {
  const isIn = member.rooms.has(roomOf(room));
  if (!isIn && member.rooms.size >= MAX_ROOMS) {
    refuse(member, 'TOO_MANY_ROOMS', `room: You are in ${MAX_ROOMS - 1} rooms already`);
  } else member.join(roomOf(room));
}

/** What a client may do only in a room. */
function isIn(member: Member, room: string): boolean {
  if (member.rooms.has(roomOf(room))) return true;
  refuse(member, 'NOT_HERE', 'room: You are not in this room');
  return false;
}

function say(chat: Chat, member: Member, room: string, text: string): void {
  if (!isIn(member, room)) return;
  const said: ServerMessage = { type: 'said', room, from: member.data.name, text };
  void chat.broadcastJsonMessage(member.namespace, said, { rooms: roomOf(room) });
}

function tellOfTyping(chat: Chat, member: Member, room: string): void {
  if (!isIn(member, room)) return;
  const user = member.data.name;
  const typing: ServerMessage = { type: 'typing', room, user };
  void chat.broadcastJsonMessage(member.namespace, typing, {
    rooms: roomOf(room),
    exceptRooms: userRoomOf(user),
    // A reader that is behind only needs the newest.
    conflate: JSON.stringify(['typing', room, user]),
  });
}

/** To all tabs of one user, on every node, and to the sender's own tabs. */
async function whisper(chat: Chat, member: Member, to: string, text: string): Promise<void> {
  if (!(await isHere(chat, member, to))) return;
  const from = member.data.name;
  const whispered: ServerMessage = { type: 'whispered', from, to, text };
  const rooms = [userRoomOf(to), userRoomOf(from)];
  await chat.broadcastJsonMessage(member.namespace, whispered, { rooms });
}

/** With all tabs, on all nodes. Here everybody may kick; your application checks who is allowed to. */
async function kick(chat: Chat, member: Member, user: string): Promise<void> {
  if (!(await isHere(chat, member, user))) return;
  await chat.closeAll(member.namespace, {
    rooms: userRoomOf(user),
    code: CloseCode.PolicyViolation,
    reason: `Kicked by ${member.data.name}`,
  });
}

/** On any node; on one that does not answer they may be. */
async function isHere(chat: Chat, member: Member, user: string): Promise<boolean> {
  const { total, missing } = await chat.cluster.count(member.namespace, { room: userRoomOf(user) });
  const mayBe = total > 0 || missing.length > 0;
  if (!mayBe) refuse(member, 'NOT_HERE', 'Nobody here has this name');
  return mayBe;
}

// Sends never reject because of the network: nothing here has to be awaited or caught.
function tell(member: Member, message: ServerMessage): void {
  void member.sendJson(message);
}

type ErrorCode = Extract<ServerMessage, { type: 'error' }>['code'];

/** Without a close code the connection stays open. */
function refuse(member: Member, code: ErrorCode, message: string): void {
  void member.sendError({ type: 'error', code, message });
}
