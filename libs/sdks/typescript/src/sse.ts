/**
 * Server-sent events out of bytes. Owns the format alone; who reconnects and when is `event_stream`'s.
 *
 * Source: HTML Living Standard, section 9.2.6 (Interpreting an event stream).
 */

/** One dispatched event. */
export interface ServerSentEvent {
  /** The event's type; `message` where the stream named none. */
  readonly type: string;
  /** The data lines, joined by newlines. */
  readonly data: string;
  /** The last id that the stream named, this event's or an earlier one's; empty: none yet. */
  readonly lastEventId: string;
}

/** Takes text as it comes, cut anywhere, and gives whole events. One parser reads one connection. */
export class ServerSentEventParser {
  /** Milliseconds that the server asks to wait before coming back; undefined: it did not say. */
  retryMs: number | undefined;

  #line = "";
  #endedWithReturn = false;
  #isAtStart = true;
  #type = "";
  #data: string[] = [];
  #lastEventId: string;

  /** @param lastEventId - what an earlier connection got to. */
  constructor(lastEventId = "") {
    this.#lastEventId = lastEventId;
  }

  /** Read a piece of the stream; gives the events that it completes. */
  push(text: string): ServerSentEvent[] {
    if (text === "") return [];
    let rest = text;
    if (this.#isAtStart && rest.startsWith("\uFEFF")) rest = rest.slice(1);
    if (this.#endedWithReturn && rest.startsWith("\n")) rest = rest.slice(1);
    this.#isAtStart = false;
    const lines = (this.#line + rest).split(/\r\n|\n|\r/);
    this.#line = lines.pop() ?? "";
    // A return at the very end may be half of a pair whose newline is still to come.
    this.#endedWithReturn = text.endsWith("\r");
    return lines.flatMap((line) => this.#read(line));
  }

  #read(line: string): ServerSentEvent[] {
    if (line === "") return this.#dispatch();
    if (line.startsWith(":")) return [];
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#lastEventId = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
    return [];
  }

  #dispatch(): ServerSentEvent[] {
    const [type, data] = [this.#type || "message", this.#data];
    this.#type = "";
    this.#data = [];
    return data.length === 0 ? [] : [{ type, data: data.join("\n"), lastEventId: this.#lastEventId }];
  }
}
