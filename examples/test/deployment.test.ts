import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

interface Probe {
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}

interface Deployment {
  readonly spec: {
    readonly minReadySeconds: number;
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly {
          readonly command: readonly string[];
          readonly env: readonly { readonly name: string; readonly value: string }[];
          readonly readinessProbe: Probe & { readonly httpGet: { readonly path: string } };
          readonly livenessProbe: object;
        }[];
      };
    };
  };
}

const read = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');

const text = read('kubernetes/deployment.yaml');
const { minReadySeconds, template } = (parse(text) as Deployment).spec;
const { terminationGracePeriodSeconds, containers } = template.spec;
const { command, env, readinessProbe, livenessProbe } = containers[0]!;
const variables = new Map(env.map(({ name, value }) => [name, Number(value)]));
const program = read('src/node-http.ts');

/** The default of the pool's `closeTimeout`, and how long gracefulShutdown waits for requests by default. */
const CLOSE_TIMEOUT_S = 10;
const REQUEST_GRACE_S = 5;

test('the manifest sets only variables that the example reads', () => {
  const head = program.slice(0, program.indexOf('process.env;\n\n'));
  for (const name of variables.keys()) expect(head).toContain(`${name} =`);
  expect(command).toEqual(['node', 'node-http.js']);
});

test('the manifest probes readiness where the example answers, and liveness elsewhere', () => {
  expect(program).toContain(`=== '${readinessProbe.httpGet.path}'`);
  expect(JSON.stringify(livenessProbe)).not.toContain(readinessProbe.httpGet.path);
});

test('the readiness delay of the manifest lasts until the probes have failed', () => {
  const noticedS = readinessProbe.periodSeconds * readinessProbe.failureThreshold;
  expect(variables.get('READINESS_DELAY_MS')).toBe(noticedS * 1000);
});

test('the grace period of the manifest is the sum in its comment, and covers the shutdown', () => {
  const { periodSeconds, failureThreshold } = readinessProbe;
  const [clients, rate] = [variables.get('MAX_CONNECTIONS')!, variables.get('DRAIN_PER_SECOND')!];
  const shutdown = [periodSeconds * failureThreshold, clients / rate, CLOSE_TIMEOUT_S, REQUEST_GRACE_S];
  const terms = [...text.matchAll(/^ +# +(\d+) s {2}/gm)].map(([, seconds]) => Number(seconds));
  const spare = terms.at(-1)!;
  expect(terms).toEqual([...shutdown, spare]);
  expect(spare).toBeGreaterThanOrEqual(10);
  const sum = terms.reduce((total, term) => total + term);
  expect(terminationGracePeriodSeconds).toBe(sum);
  expect(text).toContain(`# = ${sum} s.`);
  expect(text).toContain(`${periodSeconds} s (periodSeconds) x ${failureThreshold} (failureThreshold)`);
  expect(text).toContain(`${clients} clients / ${rate} per second`);
});

/*
 * RollingUpdate does not wait for pods that terminate: with successors that were ready at once all old pods drained together,
 * shared the rate, and were killed after the grace period.
 */
test('the manifest stops the next pod when the drain of the one before it is done', () => {
  const drainS = variables.get('MAX_CONNECTIONS')! / variables.get('DRAIN_PER_SECOND')!;
  expect(minReadySeconds).toBe(drainS + CLOSE_TIMEOUT_S);
  expect(text).toContain(`${drainS} s + ${CLOSE_TIMEOUT_S} s of those below`);
});
