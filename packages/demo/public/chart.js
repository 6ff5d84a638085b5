import uPlot from './vendor/uplot.js';

const HEIGHT_PX = 240;

/** Closes as bars, connects as a line, the rate as a dashed line: told apart without colours too. */
export function createChart(parent) {
  let data = [[], [], [], []];
  let plot;
  const draw = () => {
    plot?.destroy();
    plot = new uPlot(optionsFor(parent), data, parent);
  };
  const resize = new ResizeObserver(() => {
    // Nothing to draw on while another view is shown.
    if (parent.clientWidth === 0) return;
    if (plot) plot.setSize({ width: parent.clientWidth, height: HEIGHT_PX });
    else draw();
  });
  resize.observe(parent);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => plot && draw());
  return {
    set(rows, rate) {
      const last = rows.at(-1)?.[0] ?? 0;
      const sum = (counts) => counts.reduce((a, b) => a + b, 0);
      data = [
        rows.map(([second]) => second - last),
        // No bar, rather than one of no height.
        rows.map(([, closes]) => sum(closes) || null),
        rows.map(([, , connects]) => sum(connects)),
        rows.map(() => rate),
      ];
      plot?.setData(data);
      return { closes: Math.max(0, ...data[1]), connects: Math.max(0, ...data[2]) };
    },
  };
}

function optionsFor(parent) {
  const probe = parent.appendChild(document.createElement('span'));
  // A canvas knows neither variables nor `light-dark()`.
  const colour = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
  };
  const options = {
    width: parent.clientWidth,
    height: HEIGHT_PX,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      // A bar is as wide as a second: the first and the last are not cut in half.
      x: { time: false, range: (_plot, min, max) => [min - 0.5, max + 0.5] },
      y: { range: (_plot, _min, max) => [0, Math.max(10, max * 1.15)] },
    },
    axes: [
      {
        ...axis,
        size: 30,
        values: (_plot, seconds) => seconds.map((second) => (second === 0 ? 'now' : `${second} s`)),
      },
      { ...axis, size: 50 },
    ],
    series: [
      {},
      {
        fill: colour('--closes'),
        stroke: colour('--closes'),
        paths: uPlot.paths.bars({ size: [0.8, 14] }),
        points: { show: false },
      },
      { stroke: colour('--connects'), width: 2, points: { show: false } },
      { stroke: colour('--text'), width: 1.5, dash: [6, 4], points: { show: false } },
    ],
  };
  probe.remove();
  return options;
}
