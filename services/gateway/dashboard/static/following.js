// One run's events, as the browser hears them: `tell(run)` for each change, `show(preview)` for each small picture.
// The stream ends by itself after the terminal event; a cut one comes back with the last id that it has.

const TERMINAL = new Set(["completed", "failed", "canceled", "expired"]);

export function isOver(run) {
  return TERMINAL.has(run.status);
}

export function follow(runId, { tell, show, gone }) {
  const stream = new EventSource(`/v1/generations/${runId}/events?previews=true`);
  const onRun = (event) => {
    const run = JSON.parse(event.data);
    tell(run);
    if (isOver(run)) stream.close();
  };
  for (const name of ["snapshot", "status", "progress"]) stream.addEventListener(name, onRun);
  stream.addEventListener("preview", (event) => show(JSON.parse(event.data)));
  stream.addEventListener("error", () => { if (stream.readyState === EventSource.CLOSED) gone(); });
  return stream;
}
