import { randomUUID } from 'node:crypto';
import { Connection, ConnectionsPool } from '@soketi/connections';
import type { WebSocket } from 'ws';
import { FirstMessage, FurtherMessage, parse, type MemberView, type ServerMessage } from './protocol.js';

/** Time between opening a socket and joining, in ms. */
const JOIN_TIMEOUT_MS = 10_000;
/** Far more than a chat needs: whoever is that much behind has stopped reading. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Policy violation: the page does not come back after it (RFC 6455 §7.4.1). */
const POLICY_VIOLATION = 1008;

/** A connection of this application: the library's, with what we want to know about each. */
export class Member extends Connection<string, string, WebSocket> {
  readonly name: string;

  constructor(namespace: string, name: string, socket: WebSocket) {
    // Clients do not choose their ids: they could take another's.
    super(randomUUID(), namespace, socket);
    this.name = name;
  }

  get view(): MemberView {
    return { id: this.id, name: this.name };
  }
}

export type Chat = ConnectionsPool<string, Member>;

/** The pool, which is the only register of who is where; its events tell the others. */
export function createChat(): Chat {
  const chat: Chat = new ConnectionsPool<string, Member>({
    heartbeat: true,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
  });
  chat.on('connection', (member) => {
    const members = [...chat.namespace(member.namespace).values()].map(({ view }) => view);
    tell(member, { type: 'welcome', id: member.id, members, stats: chat.stats() });
    tellAll(chat, member.namespace, { type: 'joined', member: member.view }, [member.id]);
  });
  chat.on('disconnection', (member) => {
    // While draining all are about to leave, and would each be told of each other.
    if (!chat.draining) tellAll(chat, member.namespace, { type: 'left', member: member.view });
  });
  chat.on('error', (error, member) => console.warn(`${member?.id ?? 'pool'}: ${error.message}`));
  return chat;
}

/** Takes a socket in once its first message, `join`, says where to. Until then the pool does not know it. */
export function admit(chat: Chat, socket: WebSocket): void {
  const timer = setTimeout(() => socket.close(POLICY_VIOLATION, 'Join first'), JOIN_TIMEOUT_MS);
  socket.once('close', () => clearTimeout(timer));
  // An `error` without a listener would end the process; `close` follows in any case.
  socket.on('error', () => undefined);
  socket.once('message', (data: Buffer, isBinary) => {
    clearTimeout(timer);
    const first = parse(FirstMessage, isBinary ? data : data.toString());
    if (first.ok) join(chat, new Member(first.message.namespace, first.message.name, socket));
    else void new Connection('', '', socket).sendErrorThenClose(first.error, POLICY_VIOLATION, 'Join first');
  });
}

/** What the pool holds, to everybody. */
export function tellStats(chat: Chat): void {
  for (const namespace of chat.connections.keys()) {
    tellAll(chat, namespace, { type: 'stats', stats: chat.stats() });
  }
}

function join(chat: Chat, member: Member): void {
  member.on('message', (data) => {
    const further = parse(FurtherMessage, data);
    if (!further.ok) refuse(member, further.error);
    else say(chat, member, further.message);
  });
  // While draining the pool refuses it and closes it with 1013: nothing is left to do.
  void chat.newConnection(member);
}

function say(chat: Chat, member: Member, { text, to }: { text: string; to?: string | undefined }): void {
  if (to === undefined) tellAll(chat, member.namespace, { type: 'said', from: member.view, text });
  else void sayToOne(chat, member, text, to);
}

async function sayToOne(chat: Chat, member: Member, text: string, to: string): Promise<void> {
  const recipient = chat.getConnection(member.namespace, to);
  const message = { type: 'said', from: member.view, text, to: recipient?.view } as const;
  // `false` also when it is there still, but closing.
  const wasSent = (await recipient?.sendJson(message)) ?? false;
  if (!wasSent) refuse(member, { type: 'error', code: 'NOT_HERE', message: 'to: Nobody here has this id' });
  else if (recipient !== member) void member.sendJson(message);
}

// Sends never reject for what a network does: nothing here has to be awaited or caught.
function tell(member: Member, message: ServerMessage): void {
  void member.sendJson(message);
}

/** Without a close code the connection stays open. */
function refuse(member: Member, error: ServerMessage): void {
  void member.sendError(error);
}

function tellAll(chat: Chat, namespace: string, message: ServerMessage, exceptions: string[] = []): void {
  void chat.broadcastJsonMessage(namespace, message, exceptions);
}
