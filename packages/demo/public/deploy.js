import { createChart } from './chart.js';
import { byId, capitalized, element, formatNumber, setText } from './dom.js';
import { command } from './show.js';

const STATES = { starting: 'starting', ready: 'takes clients', draining: 'draining', gone: 'gone' };

/** @param ownNode what node this page is on */
export function startDeploy(ownNode) {
  const chart = createChart(byId('chart'));
  const cards = new Map();
  let lastHappening = 0;
  let hasChosenBots = false;

  const order = async (what) => {
    const problem = await command(what);
    setText(byId('deploy-problem'), problem ?? '');
  };
  const allAtOnce = () => byId('all-at-once').checked;
  byId('bots-form').addEventListener('submit', (event) => {
    event.preventDefault();
    void order({ do: 'bots', count: byId('bots').valueAsNumber });
  });
  byId('bots').addEventListener('input', () => {
    hasChosenBots = true;
  });
  for (const button of document.querySelectorAll('[data-bots]'))
    button.addEventListener('click', () => {
      byId('bots').value = button.dataset.bots;
      byId('bots-form').requestSubmit();
    });
  byId('restart-all').addEventListener('click', () => order({ do: 'restart all', allAtOnce: allAtOnce() }));

  const createCard = (node) => {
    const parts = {
      state: element('p', { className: 'badge' }),
      count: element('strong', { textContent: '0' }),
      unit: element('span'),
      here: element('p', { className: 'here', textContent: 'You are here' }),
      rates: element('p', { className: 'hint' }),
      meter: element('div', { className: 'bar', ariaHidden: 'true' }, element('span')),
      button: element('button', { type: 'button', textContent: 'Restart' }),
    };
    parts.button.addEventListener('click', () => order({ do: 'restart', node, allAtOnce: allAtOnce() }));
    parts.title = element('h3');
    parts.root = element(
      'li',
      { className: 'card node' },
      element('div', { className: 'row' }, parts.title, parts.state),
      element('p', { className: 'figure' }, parts.count, parts.unit),
      parts.meter,
      parts.rates,
      element('div', { className: 'row' }, parts.button, parts.here),
    );
    byId('nodes').append(parts.root);
    return parts;
  };

  const showNode = (node, { series, isRestarting, most, canControl, isAlone }) => {
    const card = cards.get(node.node) ?? createCard(node.node);
    cards.set(node.node, card);
    const count = node.report?.pool.connections ?? 0;
    const [, closes = [], connects = []] = series.at(-1) ?? [];
    setText(card.title, capitalized(node.name));
    setText(card.state, STATES[node.state]);
    card.root.dataset.state = node.state;
    setText(card.count, formatNumber(count));
    setText(card.unit, count === 1 ? ' connection' : ' connections');
    card.meter.firstChild.style.width = `${(100 * count) / most}%`;
    setText(
      card.rates,
      `${closes[node.node - 1] ?? 0} closed, ${connects[node.node - 1] ?? 0} connected in the last second`,
    );
    card.here.hidden = ownNode() !== node.name;
    card.button.disabled = !canControl || isRestarting || isAlone || node.state !== 'ready';
    card.button.ariaLabel = `Restart ${node.name}`;
  };

  const showOthers = (others) => {
    byId('others').hidden = others.length === 0;
    const items = others.map(({ name, connections, draining }) =>
      element('li', {}, `${name}: ${formatNumber(connections)} connections${draining ? ', draining' : ''}`),
    );
    byId('other-nodes').replaceChildren(...items);
  };

  const showHappenings = (happenings) => {
    // A server that has started anew counts from the beginning.
    if ((happenings.at(-1)?.id ?? 0) < lastHappening) lastHappening = 0;
    for (const { id, at, text } of happenings) {
      if (id <= lastHappening) continue;
      lastHappening = id;
      const time = new Date(at).toLocaleTimeString('en-GB');
      for (const list of document.querySelectorAll('.happenings')) {
        list.prepend(element('p', {}, element('time', { textContent: time }), ` ${capitalized(text)}`));
        while (list.childElementCount > 30) list.lastChild.remove();
      }
    }
  };

  return (state, canControl) => {
    const isAlone = state.nodes.length === 1;
    const most = Math.max(1, ...state.nodes.map(({ report }) => report?.pool.connections ?? 0));
    for (const node of state.nodes) showNode(node, { ...state, most, canControl, isAlone });
    showOthers(state.others);
    showHappenings(state.happenings);
    const peaks = chart.set(state.series, state.drainPerSecond);
    const rate = formatNumber(state.drainPerSecond);
    for (const node of document.querySelectorAll('.rate')) setText(node, rate);
    setText(
      byId('peaks'),
      `The most in one second, of the last 90: ${formatNumber(peaks.closes)} closed, ${formatNumber(peaks.connects)} connected. ` +
        `The rate is ${rate} per second.`,
    );
    const { wanted, open, failed } = state.bots;
    setText(
      byId('bots-state'),
      `${formatNumber(open)} of ${formatNumber(wanted)} bots are connected` +
        (failed > 0 ? `; ${formatNumber(failed)} attempts have failed.` : '.'),
    );
    if (!hasChosenBots && wanted > 0) byId('bots').value = wanted;
    byId('restart-all').disabled =
      !canControl || isAlone || state.isRestarting || state.nodes.some(({ state }) => state !== 'ready');
  };
}
