// The playground: reads the form as the body of a submit, sends it with the session, and shows the picture while it is
// drawn. What is wrong stands beside its field; nothing is lost of what was typed.

import { announce, follow, isOver } from "./following.js";
import { again } from "./patience.js";
import { curl, pythonCode, typescriptCode } from "./snippets.js";

const $ = (id) => document.getElementById(id);
const form = $("studio");
const token = document.querySelector("meta[name=csrf-token]").content;
const CODE = { curl, python: pythonCode, typescript: typescriptCode };
const NUMBERS = ["steps", "guidance", "seed"];
let language = "curl";
let drawing = null;

function chosen() {
  return form.querySelector("input[name=model_id]:checked");
}

// What the form says, as POST /v1/generate takes it; what is left empty is the model's own.
function body() {
  const typed = new FormData(form);
  const model = chosen();
  const made = { positive_prompt: typed.get("positive_prompt") };
  if (typed.get("negative_prompt")) made.negative_prompt = typed.get("negative_prompt");
  made.model_id = model.value;
  if (model.dataset.lora === "yes") made.lora_weight = Number(typed.get("lora_weight"));
  if (typed.get("size")) [made.width, made.height] = typed.get("size").split("x").map(Number);
  for (const name of NUMBERS) if (typed.get(name)) made[name] = Number(typed.get(name));
  if (typed.get("scheduler")) made.scheduler = typed.get("scheduler");
  if (typed.get("output_format") !== "png") made.output_format = typed.get("output_format");
  return made;
}

function fit() {
  const model = chosen();
  $("weight-field").hidden = model.dataset.lora !== "yes";
  $("lora_weight_shown").textContent = Number($("lora_weight").value).toFixed(2);
  for (const option of $("scheduler").options) option.hidden = Boolean(option.dataset.base) && option.dataset.base !== model.dataset.base;
  if ($("scheduler").selectedOptions[0]?.hidden) $("scheduler").value = "";
  const shown = body();
  if (!shown.positive_prompt) shown.positive_prompt = "A blue teapot on a wooden table";
  $("code-text").textContent = CODE[language](form.dataset.baseUrl, shown);
}

function choose(tab) {
  language = tab.dataset.language;
  for (const other of document.querySelectorAll("[data-language]")) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  $("code").setAttribute("aria-labelledby", tab.id);
  fit();
}

function clearProblem() {
  $("studio-problem").hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function refuse({ message, param, details }) {
  const name = param === "width" || param === "height" ? "size" : param;
  const field = name && form.elements.namedItem(name);
  const label = field instanceof HTMLElement && field.labels[0]?.textContent;
  $("studio-problem").querySelector("div").textContent = label && details?.allowed ? `${label} must be ${details.allowed}.` : message;
  $("studio-problem").hidden = false;
  if (field instanceof HTMLElement) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

function busy(isBusy) {
  $("stage").classList.toggle("is-busy", isBusy);
  $("progress").hidden = !isBusy;
  $("stop").hidden = !isBusy;
}

function begin(run) {
  busy(true);
  $("progress").value = 0;
  $("picture").hidden = true;
  $("backdrop").hidden = true;
  $("stage-heard").textContent = "";
  if ($("stage-empty")) $("stage-empty").hidden = true;
  $("stage-words").textContent = "It waits for a worker.";
  $("open-run").href = `/generations/${run.run_id}`;
  $("open-run").hidden = false;
}

function tell(run) {
  announce($("stage-heard"), run);
  $("progress").value = run.progress;
  if (run.status === "queued") $("stage-words").textContent = run.waiting_for || "It waits for a worker.";
  else if (run.status === "running") $("stage-words").textContent = `Drawing, ${run.progress} %${run.estimated_time ? `, about ${run.estimated_time} s left` : ""}`;
  else if (run.status === "canceling") $("stage-words").textContent = "It stops at its next step.";
  if (isOver(run)) finish(run);
}

function finish(run) {
  drawing = null;
  busy(false);
  if (run.status !== "completed") {
    $("stage-words").textContent = run.error?.message ?? (run.status === "canceled" ? "Stopped." : "It was not drawn.");
    return;
  }
  const picture = $("picture");
  const address = new URL(run.image_url);
  picture.src = address.pathname + address.search;
  picture.alt = run.parameters.positive_prompt;
  picture.hidden = false;
  picture.classList.remove("is-preview");
  $("backdrop").src = picture.src;
  $("backdrop").hidden = false;
  $("stage-words").textContent = `${run.parameters.positive_prompt.slice(0, 120)} · seed ${run.seed}`;
  const link = document.createElement("a");
  link.className = "shot";
  link.href = `/generations/${run.run_id}`;
  const small = picture.cloneNode();
  small.removeAttribute("id");
  const frame = document.createElement("span");
  frame.className = "shot-frame";
  frame.append(small);
  link.append(frame);
  $("strip").prepend(link);
  $("strip").hidden = false;
}

function show(preview) {
  if (!drawing) return;
  $("picture").src = preview.image;
  $("picture").alt = "The picture as it is being drawn";
  $("picture").hidden = false;
  $("picture").classList.add("is-preview");
}

async function send(path, content) {
  const headers = { "X-CSRF-Token": token };
  if (content) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: "POST", headers, body: content && JSON.stringify(content) });
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("/login?notice=log-in-first");
  if (!answer.ok) {
    const problem = said.error ?? { message: "The platform did not answer." };
    throw Object.assign(new Error(), problem, { message: problem.message + again(answer.headers.get("Retry-After")) });
  }
  return said;
}

async function draw(event) {
  event.preventDefault();
  if (form.dataset.mayDraw !== "yes") return;
  clearProblem();
  $("draw").disabled = true;
  try {
    const run = await send("/v1/generate", body());
    drawing?.close();
    begin(run);
    const { close } = follow(run.run_id, { tell, show, gone: () => location.reload() });
    drawing = { id: run.run_id, close };
  } catch (problem) {
    refuse({ message: problem.message || "The platform cannot be reached. Try again.", param: problem.param, details: problem.details });
  } finally {
    $("draw").disabled = false;
  }
}

async function stop() {
  if (!drawing) return;
  try {
    await send(`/v1/generations/${drawing.id}/cancel`);
  } catch (problem) {
    refuse(problem);
  }
}

if (form) {
  form.addEventListener("submit", draw);
  form.addEventListener("input", fit);
  form.elements.namedItem("positive_prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  $("stop").addEventListener("click", stop);
  form.addEventListener("click", ({ target }) => {
    if (!target.dataset.prompt) return;
    $("positive_prompt").value = target.dataset.prompt;
    $("positive_prompt").focus();
    fit();
  });
  const tabs = [...document.querySelectorAll("[data-language]")];
  for (const [place, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      choose(next);
      next.focus();
    });
  }
  fit();
}
