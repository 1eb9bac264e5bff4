// A run's page while it is not over: the picture as it is drawn; the whole page anew at the end.

import { announce, follow, isOver } from "./following.js";

const place = document.getElementById("live");
const picture = document.getElementById("preview");
const words = document.getElementById("live-words");
const heard = document.getElementById("live-heard");
const progress = document.getElementById("live-progress");

follow(place.dataset.run, {
  tell(run) {
    progress.value = run.progress;
    announce(heard, run);
    if (words) words.textContent = run.waiting_for || (run.status === "queued" ? "It waits for a worker." : `Being drawn, ${run.progress} %`);
    if (isOver(run)) location.reload();
  },
  show(preview) {
    picture.src = preview.image;
    picture.hidden = false;
  },
  gone() { location.reload(); },
});
