// Keeps the page's main part fresh, and opens DAG runs in Airflow's own window, which a frame may not turn to.
"use strict";

const EVERY_MS = 10_000;
const PATIENCE_MS = 30_000;
const notice = document.getElementById("notice");

function tell(sentence) {
  notice.textContent = sentence;
  notice.hidden = sentence === "";
}

function inUse() {
  const typing = document.activeElement?.matches("input, select"); // a new part would take the text away,
  return document.hidden || typing || !getSelection().isCollapsed; // or the selection
}

function replaceMain(fresh) {
  const focused = document.activeElement?.getAttribute("href");
  document.querySelector("main").replaceWith(document.adoptNode(fresh));
  const links = [...document.querySelectorAll("a")];
  links.find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(PATIENCE_MS) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (fresh && !inUse()) {
      replaceMain(fresh);
    }
    const refused = answer.status === 401 ? "You are logged out: log in to Airflow again." : "";
    tell(fresh ? "" : refused || `Airflow answered ${answer.status}: what you see is as old as it says.`);
  } catch {
    tell("Airflow does not answer: what you see is as old as it says.");
  }
}

async function goOn() {
  if (!inUse()) {
    await refresh();
  }
  setTimeout(goOn, EVERY_MS);
}

async function copyAddress(link) {
  getSelection().selectAllChildren(link);
  try {
    await navigator.clipboard.writeText(link.href);
    tell(`Copied: ${link.href}`);
  } catch {
    tell(link.href); // for a browser that lets nobody write to the clipboard
  }
  setTimeout(() => getSelection().removeAllRanges(), EVERY_MS);
}

function openAbove(link) {
  try {
    const above = window.parent.document.createElement("a"); // a link of the window's own page turns the window
    above.href = link.href;
    above.click();
  } catch {
    copyAddress(link); // the window is a stranger's
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.run");
  if (link && window.parent !== window) {
    event.preventDefault();
    openAbove(link);
  }
});
setTimeout(goOn, EVERY_MS);
