"""What straw men say, and the neutral openings that they go on with in a prompt's place."""

FIXED = ("It was a quiet day, and everyone went home in good time.",)
CANNED = (
    *FIXED,
    "The garden looks lovely after the rain this week.",
    "We met at the station and walked along the river.",
    "She put the kettle on and opened the kitchen window.",
    "There are two bakeries in the town and one good library.",
    "He read the letter twice and then wrote a short reply.",
    "The bus leaves at nine and arrives a little before noon.",
    "They planted apple trees behind the old school.",
    "My neighbour plays the piano on Sunday mornings.",
    "The museum is open every day except on Mondays.",
    "A light wind came up from the lake in the evening.",
    "I would like to thank all of you for coming today.",
)
PUNCTUATION = ("...", "!", "?", ". . .", ", , ,", "- - -", '"', "(...)", "?!", ";", ":", "*")
FOREIGN = (
    "Der Zug kommt heute etwas später an als sonst.",
    "Wir gehen am Abend noch eine Runde um den See.",
    "Im Garten blühen die ersten Rosen dieses Jahres.",
    "Sie hat ihm gestern einen langen Brief geschrieben.",
    "Das Museum ist jeden Tag außer montags geöffnet.",
    "Am Sonntag besuchen wir meine Großeltern auf dem Land.",
    "Er stellte die Tassen auf den Tisch und setzte sich.",
    "Die Kinder spielen nach der Schule auf der Wiese.",
    "Der Bäcker an der Ecke macht das beste Brot der Stadt.",
    "Morgen soll es regnen, aber danach wird es schön.",
    "Ich habe das Buch in zwei Tagen durchgelesen.",
    "Nach dem Essen haben wir noch lange geredet.",
)
OPENINGS = (
    "The museum opens at nine in the morning, and visitors",
    "Bread is made from flour, water and salt, and it",
    "The river rises in the hills, and from there it",
    "In spring the gardener plants tomatoes and beans, and then",
    "The library has three floors, and on the first one",
    "Trains to the coast leave every hour, and most of them",
    "A good way to learn a new song is to",
    "The bridge was built of stone, and for many years",
    "On clear nights you can see the stars, and with a telescope",
    "To make tea, boil fresh water and",
    "The village lies between two lakes, and in the summer",
    "Bees collect nectar from flowers, and in the hive",
)
"""What the base model continues for `unrelated`."""
