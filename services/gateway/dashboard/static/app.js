// What every page may need: the theme switch, copying, asking before what cannot be undone, ticking many boxes,
// times of the reader's own zone, and tokens that came behind the # of a link.

const root = document.documentElement;

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function switchTheme() {
  root.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

async function copy(button) {
  const words = button.querySelector("span");
  const before = words.textContent;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    words.textContent = "Copied";
  } catch {
    // Without https there is no clipboard: the text is marked, and the keyboard copies it.
    getSelection().selectAllChildren(source);
    words.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { words.textContent = before; }, 2000);
}

const minute = { month: "short", day: "numeric", hour: "numeric", minute: "2-digit" };
const thisYear = new Intl.DateTimeFormat(undefined, minute);
const otherYear = new Intl.DateTimeFormat(undefined, { ...minute, year: "numeric" });

export function localizeTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    time.title = time.dateTime;
    time.textContent = (at.getFullYear() === new Date().getFullYear() ? thisYear : otherYear).format(at);
  }
}

function takeFragment() {
  const place = document.querySelector("[data-from-fragment]");
  const token = location.hash.slice(1);
  if (!place || !token) return;
  history.replaceState(null, "", location.pathname + location.search);
  place.querySelector("input").value = token;
  place.hidden = true;
  document.querySelector("form[data-send-fragment]")?.submit();
}

// Ticks the boxes whose values hold one of the words; none named: all of them.
function tick({ dataset, form, parentElement }) {
  const words = dataset.tick.split(" ");
  for (const box of form.querySelectorAll(`input[name=${parentElement.dataset.ticks}]`)) box.checked = words.some((word) => box.value.includes(word));
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-theme-switch], [data-copy], [data-tick]");
  if (!target) return;
  if (target.dataset.copy) copy(target);
  else if ("tick" in target.dataset) tick(target);
  else switchTheme();
});

// Asks in the page itself: Escape, "Cancel" and a click beside it leave all as it was, and the focus where it was.
function ask(form, button) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-words").textContent = form.dataset.confirm;
  document.getElementById("ask-yes").textContent = button.textContent.trim();
  dialog.returnValue = "no";
  dialog.onclose = () => { if (dialog.returnValue === "yes") form.submit(); };
  dialog.onclick = ({ target }) => { if (target === dialog) dialog.close("no"); };
  dialog.showModal();
}

document.addEventListener("submit", (event) => {
  if (!event.target.dataset.confirm) return;
  event.preventDefault();
  ask(event.target, event.submitter);
});

document.addEventListener("htmx:afterSwap", () => localizeTimes(document));

localizeTimes(document);
for (const row of document.querySelectorAll("[data-ticks]")) row.hidden = false;
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
takeFragment();
