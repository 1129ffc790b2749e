"""What the braces of a template stand for. Every slot gives pieces: text with an entity or None."""

import random
import string
from collections.abc import Callable

from training.ner import gazetteers
from training.ner.wordlists import word_list

Piece = tuple[str, str | None]
_COMMON_LANGUAGES = "en de fr es it nl pt pl ru tr sv da fi el zh ja ar ko hu cs".split()  # noqa: SIM905


class Slots:
    """Fills slots in one language from one source of chance."""

    def __init__(self, lang: str, rng: random.Random) -> None:
        self.lang = lang
        self.rng = rng
        self.names = gazetteers.names()
        self.places = gazetteers.places()
        self.table: dict[str, Callable[[], list[Piece]]] = {
            "first": lambda: [(self.first(), "PERSON")],
            "last": lambda: [(self.last(), "PERSON")],
            "full": lambda: [(self.full(), "PERSON")],
            "titled": self.titled,
            "firstinit": lambda: [(f"{self.first()} {rng.choice('ABCDEFGHIJKLMNOPRSTVW')}.", "PERSON")],
            "lastfirst": lambda: [(f"{self.last()}, {self.first()}", "PERSON")],
            "firstgen": lambda: [(f"{self.first()}s", "PERSON")],
            "city": lambda: [(self.city(), "LOCATION")],
            "cityu": lambda: [(self.city().upper(), "LOCATION")],
            "country": lambda: [(self.country(), "LOCATION")],
            "loc": lambda: [(self.region(), "LOCATION")],
            "station": lambda: [
                (self.rng.choice(("the station", "the airport", "Terminal 2", "the city centre")), None)
            ],
            "street": lambda: [(self.street(), "LOCATION")],
            "address": self.address,
            "org": lambda: [(self.org(), "ORGANIZATION")],
            "team": lambda: [(self.team(), "ORGANIZATION")],
            "famous": lambda: [(self.word("famous_people", "notable_people"), "PERSON")],
            "state": lambda: [(self.state(), "LOCATION")],
            "site": lambda: [(self.site(), "LOCATION")],
            "citystate": self.citystate,
        }
        self.plain: dict[str, Callable[[], str]] = {
            "role": lambda: self.local("job") if rng.random() < 0.7 else rng.choice(gazetteers.job_titles()),
            "word": lambda: rng.choice(word_list("nouns")),
            "product": lambda: rng.choice(word_list("products")),
            "month": self.month,
            "weekday": self.weekday,
            "date": self.date,
            "time": lambda: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}" + rng.choice(("", "", ":07")),
            "year": lambda: str(rng.randint(1890, 2026)),
            "num": lambda: str(rng.choice((rng.randint(1, 12), rng.randint(2, 99), rng.randint(100, 9000)))),
            "email": self.email,
            "phone": lambda: (
                "".join(rng.choice("0123456789- ") for _ in range(12)).strip().replace("  ", " ")
            ),
            "url": lambda: (
                f"https://{self.ident().lower()}.example.{rng.choice(('com', 'org', 'io'))}/{self.ident().lower()}"
            ),
            "web": self.web,
            "id": lambda: (
                rng.choice(("#", "INC", "TKT-", "A-", "JIRA-", "")) + str(rng.randint(1000, 999999))
            ),
            "ident": self.ident,
            "file": lambda: (
                rng.choice(("src/", "", "app/", "C:\\\\Users\\\\"))
                + self.ident()
                + rng.choice((".py", ".java", ".ts", ".cs", ".md"))
            ),
            "hash": lambda: "".join(
                rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(12, 40))
            ),
            "handle": lambda: (
                self.first().lower().replace(" ", "") + rng.choice(("", "_", "x")) + str(rng.randint(1, 99))
            ),
            "hashtag": lambda: (
                "#" + rng.choice(("football", "MondayMotivation", "news", "love", "WorldCup", "tbt"))
            ),
            "demonym": lambda: rng.choice(word_list("demonyms")),
            "work": self.work,
            "thing": lambda: self.word("no_names", "more_no_names", "person_terms"),
            "surnamed": self.surnamed,
            "surnamedthing": self.called_after,
            "label": self.label,
            "codename": lambda: self.name_in_code().lower(),
            "codetype": lambda: self.name_in_code().capitalize(),
            "subject": lambda: rng.choice(word_list("subjects")),
            "sentence": lambda: rng.choice(word_list("sentences")),
            "quote": lambda: rng.choice(word_list("quotes")),
            "nationality": self.nationality,
            "language": self.nationality,
            "pron": lambda: rng.choice(("he", "she")),
            "pronc": lambda: rng.choice(("He", "She")),
            "pos": lambda: rng.choice(("his", "her")),
        }

    def fill(self, slot: str) -> list[Piece]:
        """Return the pieces a slot stands for; KeyError for a slot that does not exist."""
        if slot in self.table:
            return self.table[slot]()
        return [(self.plain[slot](), None)]

    def local(self, name: str) -> str:
        """Return one of a list of this language."""
        return self.rng.choice(word_list(f"{name}.{self.lang}"))

    def word(self, *names: str) -> str:
        """Return a member of one of the lists."""
        return self.rng.choice(word_list(self.rng.choice(names)))

    def tongue(self) -> str:
        """Return the language a name is taken from."""
        chance = self.rng.random()
        if chance < 0.6:
            return self.lang
        return self.rng.choice(gazetteers.LANGUAGES) if chance < 0.75 else "world"

    def invented(self) -> str:
        """Return a name no list has."""
        rng = self.rng
        parts = [
            rng.choice(word_list("onsets"))
            + rng.choice(word_list("vowels"))
            + (rng.choice(word_list("codas")) if rng.random() < 0.6 else "")
            for _ in range(rng.choice((1, 2, 2, 3)))
        ]
        return "".join(parts).capitalize()

    def first(self) -> str:
        """Return a first name."""
        if self.lang == "en" and self.rng.random() < 0.45:
            return self.rng.choice(gazetteers.american().first)
        return (
            self.invented() if self.rng.random() < 0.06 else self.rng.choice(self.names[self.tongue()].first)
        )

    def last(self) -> str:
        """Return a family name, at times with a particle or in two parts."""
        chance = self.rng.random()
        if chance < 0.1:
            return self.invented()
        usual = self.lang == "en" and self.rng.random() < 0.45
        name = self.rng.choice(gazetteers.american().last if usual else self.names[self.tongue()].last)
        if chance < 0.15:
            particle = self.rng.choice(word_list("particles"))
            return particle + ("" if particle[-1] in "-c'" or particle == "Mac" else " ") + name
        if chance < 0.19:
            return f"{name}-{self.rng.choice(self.names[self.lang].last)}"
        return name

    def full(self) -> str:
        """Return a whole name in one of the usual forms."""
        chance, first, last = self.rng.random(), self.first(), self.last()
        initial = self.rng.choice("ABCDEFGHIJKLMNOPRSTVW")
        if chance < 0.74:
            return f"{first} {last}"
        if chance < 0.80:
            return f"{first} {initial}. {last}"
        if chance < 0.85:
            return f"{first[0]}. {last}"
        if chance < 0.88:
            return f"{first[0]}.{initial}. {last}"
        if chance < 0.91:
            return f"{first}-{self.first()} {last}"
        if chance < 0.96:
            return f"{first} {self.first()} {last}"
        return f"{first} {last} {self.last()}" if self.lang == "es" else f"{first} {last}"

    def titled(self) -> list[Piece]:
        """Return a title, which is no part of the name, and a name."""
        name = self.last() if self.rng.random() < 0.7 else self.full()
        return [(self.local("title") + " ", None), (name, "PERSON")]

    def city(self) -> str:
        """Return a town; half of the time one known all over the world."""
        chance = self.rng.random()
        if self.lang == "en" and self.rng.random() < 0.3:
            return self.word("cities", "cities", "towns")
        if chance < 0.4:
            return self.rng.choice(gazetteers.big_cities()[self.lang])
        if chance < 0.44:
            return self.invented() + self.rng.choice(
                ("ville", "burg", "ton", "", "stad", " Bay", "heim", "", "shire")
            )
        if chance < 0.47 and self.lang == "en":
            return f"{self.rng.choice(('St.', 'New', 'North', 'Lake', 'Port', 'Fort', 'Mount', 'San'))} {self.last()}"
        if chance < 0.86:
            return self.rng.choice(self.places[self.lang])
        return self.rng.choice(self.places["world"])

    def country(self) -> str:
        """Return a country."""
        if self.lang == "en" and self.rng.random() < 0.25:
            return self.rng.choice(word_list("often_named"))
        return self.rng.choice(gazetteers.countries()[self.lang])

    def region(self) -> str:
        """Return a region, a lake or a range."""
        rng = self.rng
        if self.lang == "en" and rng.random() < 0.35:
            return self.word("us_states", "provinces", "regions")
        if self.lang == "en" and rng.random() < 0.6:
            return rng.choice(word_list("landscapes")).format(rng.choice((self.last(), self.city())))
        return self.country() if rng.random() < 0.4 else self.city()

    def state(self) -> str:
        """Return a state of the United States."""
        return self.word("us_states")

    def street(self) -> str:
        """Return a street without number."""
        base = self.last() if self.rng.random() < 0.6 else self.first()
        if self.lang == "en" and self.rng.random() < 0.4:
            base = self.rng.choice(word_list("usual_streets"))
        return self.local("streets").format(base)

    def address(self) -> list[Piece]:
        """Return number and street, postcode and town in the order of the language."""
        rng, number = self.rng, str(self.rng.randint(1, 250))
        code = str(rng.randint(1000, 99999))
        street, city = (self.street(), "LOCATION"), (self.city(), "LOCATION")
        gap: Piece = (rng.choice((", ", "\n", ", ")), None)
        if self.lang in ("en", "fr"):
            out = [(f"{number} ", None), street, gap]
            if self.lang == "fr":
                return [*out, (f"{code} ", None), city]
            state = rng.choice(word_list("region_codes"))
            return (
                [*out, city, (", ", None), (state, "LOCATION"), (f" {code}", None)]
                if rng.random() < 0.6
                else [*out, city]
            )
        return [street, (f" {number}", None), gap, (f"{code} ", None), city]

    def org(self) -> str:
        """Return the name of a company or a body."""
        chance = self.rng.random()
        if chance < 0.4:
            return self.word("brands", "brands", "organisations", "organisations", "more_organisations")
        if chance < 0.6:
            return self.body()
        if chance < 0.68:
            return "".join(self.rng.choice(string.ascii_uppercase) for _ in range(self.rng.randint(2, 5)))
        stem = self.invented() if self.rng.random() < 0.5 else self.last()
        if chance < 0.8:
            return f"{stem} {self.rng.choice(word_list('trades'))}"
        return f"{stem} {self.local('forms')}"

    def body(self) -> str:
        """Return a body or a company called after a place or a person."""
        chance = self.rng.random()
        if self.lang != "en" or chance < 0.15:
            return self.local("bodies").format(self.city())
        if chance < 0.65:
            place = self.rng.choice((self.city, self.city, self.country, self.region, self.state))
            return self.word("place_bodies").format(place())
        return self.word("person_bodies").format(self.last() if self.rng.random() < 0.7 else self.full())

    def team(self) -> str:
        """Return a club, which is often called as its town is."""
        chance = self.rng.random()
        if chance < 0.3:
            return self.city()
        town = self.rng.choice(word_list("cities"))
        return self.rng.choice(word_list("teams")).format(town)

    def site(self) -> str:
        """Return a building, a park or a stretch of land or water."""
        if self.rng.random() < 0.4:
            return self.rng.choice(word_list("landmarks"))
        name = self.last() if self.rng.random() < 0.5 else self.city()
        return self.rng.choice(word_list("sites")).format(name)

    def citystate(self) -> list[Piece]:
        """Return a town and the state, short or long, or country that it is in."""
        rng = self.rng
        town = rng.choice(word_list("cities")) if rng.random() < 0.4 else rng.choice(self.places["en"])
        chance = rng.random()
        within = (
            rng.choice(word_list("us_states"))
            if chance < 0.5
            else (rng.choice(word_list("region_codes")) if chance < 0.85 else self.country())
        )
        gap = ", " if rng.random() < 0.75 else " "
        return [(town, "LOCATION"), (gap, None), (within, "LOCATION")]

    def work(self) -> str:
        """Return the title of a book, a film or a song, with names in it at times."""
        rng = self.rng

        def word() -> str:
            chance = rng.random()
            if chance < 0.2:
                return rng.choice((self.first(), self.city(), self.last()))
            return rng.choice(gazetteers.lorem()["en"]).capitalize()

        title = rng.choice(word_list("creations"))
        while "{}" in title:
            title = title.replace("{}", word(), 1)
        return title

    def surnamed(self) -> str:
        """Return a thing named after somebody or a place."""
        rng = self.rng
        name = self.last() if rng.random() < 0.6 else self.city()
        return rng.choice(word_list("surnamed")).format(name)

    def called_after(self) -> str:
        """Return a product, a measure, a disease or a species that is called after a person or a place."""
        name = self.last() if self.rng.random() < 0.85 else self.city()
        return self.word("called_after").format(name)

    def label(self) -> str:
        """Return a brand that is called as a person is."""
        if self.rng.random() < 0.6:
            return self.word("person_brands")
        return f"{self.first()} {self.last()}"

    def name_in_code(self) -> str:
        """Return the name of a person or a place as one word of ASCII letters: a branch, a module, a theme."""
        name = self.rng.choice((self.first, self.first, self.last, self.last, self.city))()
        return "".join(c for c in name if c.isascii() and c.isalpha()) or "falcon"

    def month(self) -> str:
        """Return a month."""
        names = gazetteers.get_month_names("wide", locale=self.lang)
        return str(names[self.rng.randint(1, 12)])

    def weekday(self) -> str:
        """Return a day of the week."""
        return str(gazetteers.get_day_names("wide", locale=self.lang)[self.rng.randint(0, 6)])

    def date(self) -> str:
        """Return a date in one of several forms."""
        rng = self.rng
        day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1950, 2026)
        return rng.choice(
            (
                f"{year}-{month:02}-{day:02}",
                f"{day}.{month}.{year}",
                f"{month}/{day}/{year}",
                f"{day} {self.month()} {year}",
                f"{self.month()} {day}",
            )
        )

    def email(self) -> str:
        """Return an address made of a name."""
        host = self.rng.choice(
            ("example.com", "example.org", "mail.example.net", "gmail.com", "corp.example")
        )
        return f"{self.first()[:8]}.{self.last()[:9]}@{host}".lower().replace(" ", "").replace("'", "")

    def web(self) -> str:
        """Return a page or an address at some host, which is often called as a person or a place is."""
        rng = self.rng
        base = rng.choice((self.first(), self.last(), self.city(), self.org(), self.ident()))
        end = rng.choice(("com", "org", "edu", "net", "co.uk", "de", "gov", "ac.uk"))
        host = "".join(c for c in base.lower() if c.isalnum()) + "." + end
        before = rng.choice(("www.", "http://www.", "http://", "irc.", "", f"{self.last().lower()[:7]}@"))
        return before + host + rng.choice(("", "", "", f"/{self.ident()}.htm", f"/{self.ident()}/"))

    def ident(self) -> str:
        """Return a code identifier."""
        parts = [self.rng.choice(word_list("ident_parts")) for _ in range(self.rng.choice((1, 2, 2, 3)))]
        if self.rng.random() < 0.12:
            parts[0] = self.rng.choice(self.names["en"].first).lower()
        form = self.rng.random()
        if form < 0.35:
            return "".join(p.capitalize() for p in parts)
        if form < 0.6:
            return parts[0] + "".join(p.capitalize() for p in parts[1:])
        return ("_" if form < 0.85 else "-").join(parts)

    def nationality(self) -> str:
        """Return a word of language or nationality."""
        words = gazetteers.babel.Locale(self.lang).languages
        if self.lang == "en" and self.rng.random() < 0.6:
            return self.rng.choice(word_list("demonyms"))
        return str(words[self.rng.choice(_COMMON_LANGUAGES)])
