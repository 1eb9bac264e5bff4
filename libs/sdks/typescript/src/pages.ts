/** Lists that come in pages. */

/** One page, newest items first. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Names the next page; null: this is the last. */
  readonly nextCursor: string | null;
}

/** All items of all pages; a page is asked for when the one before is used up.
 *
 * @param read - asks for the page after a cursor; undefined: the first.
 */
export async function* iterated<Item>(
  read: (cursor: string | undefined) => Promise<Page<Item>>,
  first?: string,
): AsyncGenerator<Item, void, undefined> {
  for (let cursor: string | null | undefined = first; cursor !== null; ) {
    const page: Page<Item> = await read(cursor);
    yield* page.items;
    cursor = page.nextCursor;
  }
}
