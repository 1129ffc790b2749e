"""Ordinary words that are also names of people or places.

Where one of them was recognised as a name, the same letters elsewhere are most likely the word: at the beginning
of a sentence, in a title, and in German, which writes every noun with a capital.
"""

_ENGLISH = """
    able angel april archer ash august autumn avenue baker barber baron bath battle bell berry bill bird bishop
    black blue bond booth bower branch brandy bridge bright brook brown buck bush butler carpenter carter case
    cash chance chapel chase cherry chief china christian church clay cliff coal cook coral cork cotton crane
    cross crystal daisy dawn day destiny diamond dollar driver duke eagle earl early east ebony eden ember
    ernest ever faith fall farmer field finch fisher flint flora flower ford forest fountain fox frank french
    frost garden gardener garland gates glass glen golden good grace grant gray green grey grove guy hale hall
    harbor harmony hart hawk hazel head heath heather heaven hill holiday holly honey honor hood hope house hunt
    hunter ivory ivy jewel journey joy judge june justice keen king knight lake lamb lane lark last laurel law
    lawn leaf legend liberty lily little long lord love lucky mail major mall manor maple march mark marsh
    marshal marshall may melody mercy merit miles mill miller mine misty mobile moon moss myrtle nice noble
    north oak ocean olive opal orange page park patience peace pearl penny pepper pike point pope potter pound
    power precious price pride prince queen quick rain raven ray read reader reading reason red reed reef rice
    rich ridge ring river rivers rock roman root rose rush rusty sage sailor salmon salt sandy savage scarlet
    schooner scout sea self shade sharp shell shepherd sherry shore short silver singer skip sky small snow
    south split spring star steel sterling stone storm story strange street strong sue summer sunny swan swift
    tailor tanner temple thorn tiger tower town trace trail trinity trip true trust turkey union vale valley van
    victory wall ward waters way welcome well wells west wheat wheeler white will willow winter wise wolf wood
    woods worth yard young
"""
_GERMAN = """
    adler amsel baum berg bock braun brunnen burg busch ernst essen feld fink fuchs garten gold gross groß hahn
    halle hase heide held herbst herzog hirsch hof jung jäger kaiser kamp klein koch koenig kohl korn kraft krug
    kurz könig lang licht linde linden löwe mai markt mohr müller nagel richter ritter rose schmied schwarz
    schäfer see seiler sommer spiegel stark stein stern strauß teich treu vogel wald weiden weiss weiß winter
    wirt wolf ziegler zimmermann zucker
"""
ORDINARY = frozenset((_ENGLISH + _GERMAN).split())
"""In lower case."""
