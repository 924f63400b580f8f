"""What estimates become: all estimators together, the long table, the change since a first wave, advice, sentences and files."""
