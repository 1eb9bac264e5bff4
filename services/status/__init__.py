"""The program `status`: the truth about runs. It accepts, dispatches, fences, settles, shows and forgets them."""
