// Sends a LoRA to the API with the session, says how far it is, and what was found wrong with it.

import { again } from "./patience.js";

const form = document.getElementById("upload");
const progress = document.getElementById("upload-progress");
const problem = document.getElementById("upload-problem");
const words = document.getElementById("upload-words");
const button = document.getElementById("upload-button");
const token = document.querySelector("meta[name=csrf-token]").content;

function content() {
  const typed = new FormData(form);
  const sent = new FormData();
  for (const name of ["name", "base_model_id", "description", "sharing"]) if (typed.get(name)) sent.append(name, typed.get(name));
  for (const word of typed.get("trigger_words").split(",")) if (word.trim()) sent.append("trigger_words", word.trim());
  sent.append("file", typed.get("file"));
  return sent;
}

function refuse(message) {
  problem.querySelector("div").textContent = message;
  problem.hidden = false;
  progress.hidden = true;
  words.textContent = "";
  button.disabled = false;
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.hidden = true;
  const file = form.elements.file.files[0];
  if (file.size > Number(form.dataset.limitBytes)) {
    refuse("The file is larger than this platform takes.");
    return;
  }
  const request = new XMLHttpRequest();
  request.open("POST", "/v1/models");
  request.setRequestHeader("X-CSRF-Token", token);
  request.responseType = "json";
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    progress.value = (100 * loaded) / total;
    words.textContent = loaded < total ? "Sending the file" : "Checking it against the base model";
  });
  request.addEventListener("load", () => {
    if (request.status === 200) location.assign(`/models/${request.response.id}?notice=model-created`);
    else refuse((request.response?.error?.message ?? "The platform did not take the file.") + again(request.getResponseHeader("Retry-After")));
  });
  request.addEventListener("error", () => refuse("The connection broke off. Nothing was kept; try again."));
  progress.hidden = false;
  button.disabled = true;
  request.send(content());
});
