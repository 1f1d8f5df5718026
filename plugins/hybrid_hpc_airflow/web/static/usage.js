// Draws the charts of the page Usage, in its colours, and sends its filters when one is changed.
"use strict";

const COLOURS = 8;
const config = { displayModeBar: false, responsive: true };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Names are other people's: plotly takes some HTML in them for its own.
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function axis(more) {
  return {
    gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"),
    tickfont: { size: 11 }, automargin: true, fixedrange: true, ...more,
  };
}

function layoutOf(chart) {
  const rows = chart.kind.endsWith("rows");
  const values = axis({ rangemode: "tozero", separatethousands: true, nticks: 6 });
  const along = rows
    ? axis({ type: "category", autorange: "reversed", showgrid: false })
    : axis({ type: "date", showgrid: false, nticks: 7, hoverformat: "%Y-%m-%d" });
  if (!rows && chart.along.length === 1) {
    Object.assign(along, { type: "category" }); // the axis of one date shows milliseconds
  }
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("quiet") },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    barmode: chart.kind === "rows" ? "group" : "stack",
    bargap: 0.25,
    hovermode: rows ? "y unified" : "x unified",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("text"), size: 12 } },
    showlegend: chart.series.length > 1,
    legend: { orientation: "h", y: -0.18, yanchor: "top", x: 0, traceorder: "normal", font: { size: 11.5 } },
    xaxis: rows ? values : along,
    yaxis: rows ? along : values,
    shapes: rows ? [] : chart.gaps.map(shaded),
  };
}

// Where nothing was collected there is no zero.
function shaded([since, until]) {
  return {
    type: "rect", xref: "x", yref: "paper", x0: since, x1: until, y0: 0, y1: 1, layer: "below",
    fillcolor: colour("amber-soft"), line: { width: 0 },
  };
}

function traceOf(chart, series, at) {
  const own = colour(`chart-${at % COLOURS}`);
  const rows = chart.kind.endsWith("rows");
  const along = chart.along.map(plain);
  const bars = chart.kind !== "lines";
  const times = bars && !rows && chart.along.length > 1;
  const value = `%{${rows ? "x" : "y"}:,.3~f}`;
  return {
    type: bars ? "bar" : "scatter", orientation: rows ? "h" : undefined,
    name: plain(series.name), x: rows ? series.values : along, y: rows ? along : series.values,
    marker: { color: own, size: 5 }, line: { color: own, width: 2 },
    width: times ? chart.along.map((since, at) => 0.8 * (new Date(chart.until[at]) - new Date(since))) : undefined,
    offset: times ? 0 : undefined, // else all bars are as narrow as that of a week which is cut off
    mode: bars ? undefined : "lines+markers", connectgaps: false,
    hovertemplate: `${value}<extra>${plain(series.name)}</extra>`,
  };
}

function draw(chart) {
  const place = document.querySelector(`[data-chart="${chart.id}"] .plot`);
  const empty = !chart.series.some((series) => series.values.some(Boolean));
  if (place && !empty) {
    Plotly.react(place, chart.series.map((series, at) => traceOf(chart, series, at)), layoutOf(chart), config);
  }
}

const data = document.getElementById("data");
const charts = data ? JSON.parse(data.textContent) : [];
const drawAll = () => charts.forEach(draw);
drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

const filters = document.querySelector(".filters");
filters?.addEventListener("change", (event) => {
  if (event.target.matches("select")) {
    filters.requestSubmit();
  }
});
// An empty field asks for nothing, and needs no place in the address.
filters?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) {
    if (value === "") {
      event.formData.delete(name);
    }
  }
});
