import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { Connection, ConnectionsPool } from '@soketi/connections';
import type { WebSocket } from 'ws';
import { check, Newcomer, parse, type MemberView, type ServerMessage } from './protocol.js';

/** Far more than a chat needs: whoever is that much behind has stopped reading. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Policy violation: the page does not come back after it (RFC 6455 §7.4.1). */
const POLICY_VIOLATION = 1008;

/** A close reason holds 123 bytes; what is cut off in the middle of a character becomes 3 (RFC 6455 §5.5). */
const MAX_REASON_BYTES = 120;

/** A connection of this application: the library's, with what we want to know about each. */
export class Member extends Connection<string, string, WebSocket, { readonly name: string }> {
  get view(): MemberView {
    return { id: this.id, name: this.data.name };
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
    member.on('message', (data) => hear(chat, member, data));
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

/** Who asks to join: nobody has an account here, so `?namespace=lobby&name=Ada` is all. */
export function newcomer({ url = '' }: IncomingMessage) {
  const query = Object.fromEntries(new URL(url, 'http://localhost').searchParams);
  const checked = check(Newcomer, query);
  if (!checked.ok) {
    const reason = Buffer.from(checked.problem).subarray(0, MAX_REASON_BYTES).toString();
    return { status: 400, closeCode: POLICY_VIOLATION, reason };
  }
  const { namespace, name } = checked.value;
  // Clients do not choose their ids: they could take another's.
  return { id: randomUUID(), namespace, data: { name } };
}

/** What the pool holds, to everybody. */
export function tellStats(chat: Chat): void {
  for (const namespace of chat.connections.keys()) {
    tellAll(chat, namespace, { type: 'stats', stats: chat.stats() });
  }
}

function hear(chat: Chat, member: Member, data: string | Uint8Array): void {
  const message = parse(data);
  if (message.ok) say(chat, member, message.value);
  else refuse(member, { type: 'error', code: 'BAD_MESSAGE', message: message.problem });
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
