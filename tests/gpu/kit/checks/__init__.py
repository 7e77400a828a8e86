"""The steps of a run. Each is a function of the setting and the clock, which fills figures in as it goes, or raises."""
