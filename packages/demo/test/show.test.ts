import { expect, test } from 'vitest';
import { Show } from '../src/show/show.js';

/** Nodes that take clients, and restarts that last until the test ends them. */
function startShow(nodes: number) {
  const names = Array.from({ length: nodes }, (_, index) => `node ${index + 1}`);
  const show = new Show(names, 100, () => 'http://127.0.0.1:1');
  const restarted: number[] = [];
  let end = (): void => undefined;
  show.fleet = {
    restart: (node) => {
      restarted.push(node);
      show.nodeIs(node, 'draining');
      return new Promise((resolve) => {
        end = () => {
          show.nodeIs(node, 'ready');
          resolve();
        };
      });
    },
  };
  names.forEach((_, index) => show.nodeIs(index + 1, 'ready'));
  const endRestart = async (): Promise<void> => {
    end();
    await new Promise(setImmediate);
  };
  return { show, restarted, endRestart };
}

test('a restart of all nodes takes them one after another', async () => {
  const { show, restarted, endRestart } = startShow(2);
  expect(show.obey({ do: 'restart all', allAtOnce: false })).toEqual({ ok: true });
  expect(restarted).toEqual([1]);
  await endRestart();
  expect(restarted).toEqual([1, 2]);
  await endRestart();
  expect(show.state.isRestarting).toBe(false);
});

test.each(['gone', 'starting'] as const)(
  'no node is restarted while another one is %s: the others have to take its clients',
  (state) => {
    const { show, restarted } = startShow(2);
    show.nodeIs(2, state);
    const refused = { ok: false, problem: 'Node 2 is not ready yet.' };
    expect(show.obey({ do: 'restart', node: 2, allAtOnce: false })).toEqual(refused);
    expect(show.obey({ do: 'restart', node: 1, allAtOnce: false })).toEqual(refused);
    expect(show.obey({ do: 'restart all', allAtOnce: true })).toEqual(refused);
    expect([restarted, show.state.isRestarting]).toEqual([[], false]);
  },
);

test('a node that dies while all of them restart is left to start by itself', async () => {
  const { show, restarted, endRestart } = startShow(3);
  show.obey({ do: 'restart all', allAtOnce: false });
  show.nodeIs(2, 'gone');
  await endRestart();
  expect(restarted).toEqual([1, 3]);
  await endRestart();
  expect(show.state.isRestarting).toBe(false);
});
