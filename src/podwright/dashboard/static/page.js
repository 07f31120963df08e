"use strict";

const GOOD = new Set(["Ready", "Running", "Completed", "Succeeded", "Normal"]);
const WAITING = new Set(["Pending", "ContainerCreating", "Terminating", "PodInitializing"]);
const COLOURED = new Set(["Status", "Type"]);

function colour(text) {
  if (GOOD.has(text)) return "good";
  return WAITING.has(text) || text.startsWith("Init:") ? "waiting" : "bad";
}

function cell(kind, text, name) {
  const made = document.createElement(kind);
  made.textContent = text;  // Never HTML: names and messages are other people's.
  if (name) made.className = name;
  return made;
}

function row(kind, texts, columns) {
  const made = document.createElement("tr");
  texts.forEach((text, place) => {
    made.append(cell(kind, text, kind === "td" && COLOURED.has(columns[place]) ? colour(text) : ""));
  });
  return made;
}

function show(id, table) {
  const rows = table.rows.map((texts) => row("td", texts, table.columns));
  const none = rows.length ? [] : [row("td", ["none"], [""])];
  document.getElementById(id).replaceChildren(row("th", table.columns, table.columns), ...rows, ...none);
}

const state = document.getElementById("state");
const stream = new EventSource("tables");
stream.onmessage = (message) => {
  Object.entries(JSON.parse(message.data)).forEach(([id, table]) => show(id, table));
  state.textContent = "live";
  state.className = "good";
};
stream.onerror = () => {
  state.textContent = "not connected, trying again";
  state.className = "bad";
};
