// When a refused request may be made again, as people say it; the header is whole seconds, or absent.

const UNITS = [[86_400, "days"], [3_600, "hours"], [60, "minutes"]];

export function again(retryAfter) {
  const seconds = Number(retryAfter);
  if (!seconds) return "";
  const [unit, word] = UNITS.find(([each]) => seconds > 2 * each) ?? [1, seconds === 1 ? "second" : "seconds"];
  return ` Try again in ${Math.ceil(seconds / unit)} ${word}.`;
}
