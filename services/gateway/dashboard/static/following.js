// One run's events, as the browser hears them: `tell(run)` for each change, `show(preview)` for each small picture.
// The stream ends by itself after the terminal event; a cut one comes back with the last id that it has.

const AGAIN_S = 5;
const TERMINAL = new Set(["completed", "failed", "canceled", "expired"]);

export function isOver(run) {
  return TERMINAL.has(run.status);
}

const HEARD = { queued: "It waits for a worker.", canceling: "It stops at its next step.", completed: "The picture is there.", canceled: "Stopped." };

// What a screen reader is told of a run: each state once, and the progress at its quarters; the eye sees every step.
export function announce(place, run) {
  const quarters = Math.floor(run.progress / 25) * 25;
  const drawing = quarters ? `Drawing, ${quarters} % done.` : "Drawing.";
  const words = run.status === "running" ? drawing : HEARD[run.status] ?? run.error?.message ?? "It was not drawn.";
  if (place.textContent !== words) place.textContent = words;
}

export function follow(runId, { tell, show, gone }) {
  let stream;
  let timer;
  let isClosed = false;
  function open() {
    stream = new EventSource(`/v1/generations/${runId}/events?previews=true`);
    const onRun = (event) => {
      const run = JSON.parse(event.data);
      tell(run);
      if (isOver(run)) stream.close();
    };
    for (const name of ["snapshot", "status", "progress"]) stream.addEventListener(name, onRun);
    stream.addEventListener("preview", (event) => show(JSON.parse(event.data)));
    stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) refused(); });
  }
  // A refused stream does not say why: the run's page does. Who is logged out, or whose run is deleted, learns it at
  // once; whoever has too many streams or pages open is let in again later.
  async function refused() {
    const page = await fetch(`/generations/${runId}`, { method: "HEAD", redirect: "manual" }).catch(() => null);
    if (isClosed) return;
    if (page?.type === "opaqueredirect" || page?.status === 404) gone();
    else timer = setTimeout(open, 1000 * (Number(page?.headers.get("Retry-After")) || AGAIN_S));
  }
  open();
  return { close() { isClosed = true; clearTimeout(timer); stream.close(); } };
}
