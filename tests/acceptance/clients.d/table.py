"""What each of those who met has shown, for people and as two numbers."""


def report(all_, abilities, results, *lines):
    """How many abilities were shown, and how many not; `results` are the faults by name and ability."""
    passed = failed = 0
    print(f"| client | {' | '.join(abilities)} |")
    print(f"|---|{'---|' * len(abilities)}")
    for who in all_:
        cells = []
        for ability in abilities:
            faults = results.get((who.name, ability))
            cells.append("" if faults is None else "FAILED" if faults else "yes")
            passed += faults == []
            failed += bool(faults)
        print(f"| {who.name} | {' | '.join(cells)} |")
    for line in lines:
        print(line)
    for (name, ability), faults in results.items():
        for fault in faults[:3]:
            print(f"FAILED: {name}, {ability}: {fault}")
    return passed, failed
