"""Published counts: answers per question and subgroup, without microdata."""
