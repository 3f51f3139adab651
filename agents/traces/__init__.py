"""Following a transaction: what the logs of all processes tell of it, found fast and put in order.

What this room is for
    ``otafleet trace``. ``reading`` takes lines out of log files, whole or torn, plain or compressed, and
    counts what it skips; ``tally`` adds up what the lines of one transaction say; ``index`` keeps the sums,
    and where the lines lie, in a file beside the logs (``places``: or elsewhere, where none can be written
    there); ``lookup`` asks it (``misnomers``: for names that nobody has); ``archive`` is all of that for
    who wants an answer; ``listing`` and ``lines`` write what a person sees, ``following`` what is new.
    ``chart`` makes a sequence chart of one transaction's lines (``chart_lines``: as far as they can be
    believed, causes first; ``chart_people``: lifelines; ``chart_entries``: rows; ``chart_fold``: fewer of
    them; ``chart_cut``: some of them); ``chart_text``, ``chart_svg`` and ``chart_mermaid`` draw it.
    ``gleaning`` is for a fleet that explains its own run: the lines of some transactions, without an index.

What it may import
    ``agents.errors``, SQLite, msgpack, rich. It knows no role, no fleet and no bus: logs are all that it
    has, and they may be somebody else's, from another machine, or forged.

Theory of operation
    Ten million lines fit on a disk and not into memory. So lines are read once, as a stream, and of each
    only sums stay, by transaction, with the offset of the line. Every so many lines the sums go into SQLite,
    in one database transaction with how far the file was read: killed at any moment, the next command goes
    on from there. Two commands at once do not count a line twice: who finds the file read further than he
    thought drops his portion. Sums are made of minima, maxima and additions alone, so that it does not
    matter in which order lines come, from which file, or in how many portions: an index that grew with its
    logs is the one that would be made anew. A log only grows; one that did anything else, by size, time or a
    digest of what was read, has the whole index made anew. One transaction's lines are then read by seeking
    to them; in a compressed log that means to decompress it as far as they lie, which takes less time than
    copies of all lines would take room.

    Lines are untrusted. Whatever they hold, each is an event or is counted as skipped; a field of the wrong
    kind counts as absent; texts are cut, and written without control characters.
"""
