"""A dataset's card, for people and for programs: `STORE/card/`, made from the current version and always of it.

README.md       what it is, how it was made, what was left out and why, how to load it
pairs.png       some pairs of each split
rejected.png    some rejected items, where there are pictures of them
croissant.json  the same for programs: Croissant 1.0 (JSON-LD), by MLCommons
card.json       what the card was made from, and the sha256 of its files
"""
