// What every page may need: the theme switch, copying, asking before what cannot be undone, times of the reader's own
// zone, and tokens that came behind the # of a link.

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

const nearby = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function localizeTimes(within) {
  for (const time of within.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.dateTime;
    time.textContent = nearby.format(new Date(time.dateTime));
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

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-theme-switch], [data-copy]");
  if (!target) return;
  if (target.dataset.copy) copy(target);
  else switchTheme();
});

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

document.addEventListener("htmx:afterSwap", () => localizeTimes(document));

localizeTimes(document);
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
takeFragment();
