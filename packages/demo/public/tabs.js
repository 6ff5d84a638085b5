import { byId } from './dom.js';

/** The tabs pattern of WAI-ARIA: arrows, Home and End choose; the address remembers. */
export function startTabs(onChosen) {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const choose = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute('aria-selected', String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      byId(tab.getAttribute('aria-controls')).hidden = !isChosen;
    }
    onChosen(chosen.dataset.view);
  };
  const chooseByAddress = () =>
    choose(tabs.find(({ dataset }) => `#${dataset.view}` === location.hash) ?? tabs[0]);
  // Not by setting the hash: that takes the focus away.
  const go = (tab) => {
    history.replaceState(null, '', `#${tab.dataset.view}`);
    choose(tab);
  };
  for (const tab of tabs) tab.addEventListener('click', () => go(tab));
  document.querySelector('[role=tablist]').addEventListener('keydown', (event) => {
    const index = tabs.indexOf(document.activeElement);
    const next = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined || index < 0) return;
    event.preventDefault();
    const tab = tabs.at(next % tabs.length);
    tab.focus();
    go(tab);
  });
  addEventListener('hashchange', chooseByAddress);
  chooseByAddress();
}
