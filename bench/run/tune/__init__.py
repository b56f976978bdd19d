"""An equal search of methods' settings: as many trials for each, on data that nothing evaluates on."""
