"""Passwords: values that somebody chose, told from words, names of code, labels and what stands for a password."""

import re
import unicodedata

from sallyport.detect.letters import is_random, is_short_random
from sallyport.detect.published import is_published
from sallyport.detect.randomness import entropy
from sallyport.detect.saidwords import SAID
from sallyport.detect.standins import REFERENCE, is_placeholder, is_slashed_base64, read_login


def password(value: str) -> bool:
    """A value that someone could have chosen: not an example, not code, not a plain word."""
    if is_placeholder(value) or len(value) < 6:
        return False
    if REFERENCE.search(value) and not (value.startswith("/") and is_slashed_base64(value)):
        return False
    if is_random(value):
        return True
    classes = sum(bool(re.search(c, value)) for c in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w\s]"))
    return classes >= 3 or (classes == 2 and bool(re.search(r"\d", value)) and entropy(value) >= 2.2)


def spoken_password(value: str) -> bool:
    """A password in a sentence: more than a word with a full stop."""
    bare = value.rstrip(".,;:!?'\")")
    return password(bare) and (bool(re.search(r"\d|[^\w'-]", bare)) or is_random(bare))


_CODE_WORDS = """
a above accept add admin after all allow an and any api app append application arg args array async attr
attribute auth authenticate authentication authorization authorizer auto available await background base basic
bearer before begin behavior below bool boolean border bottom box btn bucket buffer build builder button by
bytes cache call callback cancel card cell cert certificate change changed char characters chars check
checkbox children choice class clear click client close cls cluster code col color column command comment
compare complete component cond config configuration confirm confirmation connection const container content
context control cookie count counter create cred credential credentials crypt csrf css current custom customer
dark data database date debug declare decode decoder decrypt default delete delimiter deploy deprecated
description destination detail details device dialog digest dir direction disabled display div doc document
does domain done down download drop duration edit editor element email empty en enabled encode encoded encoder
encoding encrypted encryption end endpoint enter entity entry enum env environment equal error event every
exception exists expired expires expiry export extern external extra eye factory failed fallback false feature
fetch field file filter final find first fixed flag flow focus folder font for forbidden forgot form format formatted
frame from full func function generate generated generator get global gone grid group guest handle handler has
hash hashed header help hidden hide hint home hook host hover html http icon id identifier if image import in
inactive include index info initial inner input insecure inspector instance int integer interface internal
invalid is item job join jwt key keyring keys keyword kind kubernetes label lambda lang language large last
later layout left length level lib light limit line link list listener load loader local locale location lock
log login logout long lower mac main manager map margin master match matches max mechanism media member memory
menu message method middleware min minimum mismatch missing mobile modal mode model module month mount mounted
multi mutation my name namespace native new next no node none not notation notice null number oauth object of
off ok old on one only opaque open operator option optional options or order output owner package padding page
panel param parameter params parent parse parser patch path pattern payload pending permission picker pin
placeholder plain plugin point policy pool port position post prefix primary private process production
profile prompt prop properties property props protected provider proxy public punctuation query queue quote
random range read ready reducer ref reference refresh regex region register registration release reload remote
remove render replace repo request require required reserved reset resource response restore result retry
return right role root rounded route router row rule rules safe salt sample sandbox save schema scheme scope
screen script search secondary section secure security select selector self send separator series server
service session set setting settings shadow shared short should show sign signal signature signin signing
single size slot small sort source spec stack stage standard start state statement static status step stop
storage store str stream strength string strong style sub subject submit success suffix summary support switch
symbol sync syntax system tab table tag tail target task temp template temporary test text the theme this time
title tls to toggle token tokens tool tooltip top total track translation trigger true tuple type uid
unchanged undefined unique unknown unset up update upload upper uri url usage use user username users util
utils uuid valid validate validation validator validators value values var variable verification verify
version view virtual visibility visible void wait warning was watch weak web weight widget width window with
without word words wrapper write wrong xml year yes you your zone
"""
_CODE = frozenset(_CODE_WORDS.split())
"""Words of which names in code, settings and forms are made; a password of two of them is taken for such a name."""

_TELLS = re.compile(
    r"(?i)pass(?:w|ph|c|e$|es$)|pwd|passe\b|secret|token|credential|kennw|schlussel|geheim|wachtw|senha|contras|losen"
    r"|adgang|salasan|heslo|jelsz|sifre|lozink|parola\b|author?iz|authent|placeh|changeme|letme|opensesame|example"
    r"|sample|dummy|insert|(?<!fi)replace|redact|(?:in)?correct|invalid|require|default|foobar|barbaz|lorem|encrypt|vault"
    r"|config|setting|database|kubern|postgres|mysql|maria|mongo|rabbit|localhost|keyring|keychain|bitward|keepass"
    r"|lastpass|obligat|verplicht|mandat|username|unknown|identif|qwert"
    r"|asdf|correcthorse|abcde"
    r"|plaintext|account|disabled|benutzer|unbekannt|wrong"
)
"""What stands in words for a password, in what is said of one and in defaults."""

_KNOWN = re.compile(
    r"(?i)sunshine|whatever|something|anything|staple|swordfish|superman|batman|starwars|trustno|iloveyou|welcome"
)
"""What everybody takes for a password in an example."""

_ENDS = re.compile(
    r"(?i)(?:ed|able|ible|tory|ional|[ts]ion|ment|ity|ness|[ae]nce|[ae]nt|[ae]ncy|ive|ous|[ai]lly|ful|less|ism|ist|ure|ical"
    r"|ate|ated|ify|i[sz]e|orio|oria|orie|oire|lich|ung|ungen|heit|keit|isch|iva|ivo|cion|zione|cao|eur|euse|igt|bar|schaft"
    r"|ology|graphy|ators?|itors?|[tdnmkv]ing|(?<!er)ling|ering|ship"
    r"|(?:roll|hold|met|act|ain|scrib|sum|ifi|lett|put|velop|anag|ovid|lish)ers?|ies|als|ics?|ary|ad[oa]|iert|iges?)$"
)
"""How long words end of which there are many; two words in one seldom do."""

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def word_key(value: str) -> bool:
    """Three words and more, joined, of which no name of code is made."""
    pieces = [piece.lower() for piece in _PIECE.findall(value)]
    return (
        word_password(value)
        and len(pieces) > 2
        and not any(piece in _CODE or len(piece) < 3 for piece in pieces)
    )


def word_password(value: str) -> bool:
    """Words joined, or letters at random: what somebody chose, and neither one word nor a name of code."""
    if is_placeholder(value) or is_published(value):
        return False
    bare = value.rstrip("!?*#.@$%&+")
    if is_random(bare) or is_short_random(bare):
        return True
    if _TELLS.search(bare):
        return False
    parts = re.split(r"[ ._+&-]", bare)
    pieces = [piece.lower() for part in parts for piece in _PIECE.findall(part)]
    if len(pieces) < 3 and _KNOWN.search(bare):
        return False
    if len(pieces) > 1:
        return (
            max(map(len, pieces)) >= 4
            and len(bare) >= 8
            and 2 * sum(piece in _CODE or len(piece) < 3 for piece in pieces)
            <= len(pieces) - (len(pieces) == 2)
        )
    lower = bare.lower()
    halves = any(lower[:place] in _CODE and lower[place:] in _CODE for place in range(4, len(lower) - 3))
    return len(bare) >= _JOINED_WORDS and bare == lower and not halves and _ENDS.search(bare) is None


_JOINED_WORDS = 10
"""Small letters of two words in one; a single word is seldom as long."""


_SAID_WORDS = """
absent admins any apikey apitoken application arguments autofill automatic base64 been being belong binary biometric
bitte both bytea caller cannot case changes characters chart chooses cipher cleartext client clientsecret collect
column complex confirmed constant context correct cost could creds crypto database decimal declared deleted denied
dense derive digest digits directory domain double dummy during each eight either empty encryptedstring enforced
enter entered error errors every everyone exact exactly example expect expired express external facade fails failure
falsch false family fancy field fields fixture fixtures float folder follows forbid forgotten formcontrol frontend
function future gave gehashed generate getenv gets given goes gonna group guest hashes having hello hence hereby
hexadecimal hidden history however human ignore ignored immer implicit incluso inherit inherited inline input inputs
inquiry inside instead integer integers internal invalide itself jamais keeps kerberos khusus kind known lambda leer
legacy letters level linked literal locked longer looks lookup loose lowercase makes manual masked matched matches
maybe means medium missing mistake mixed mock module money monitor more mostly multiple must mutable names never
next nicht nobody nochmal noecho nonce none nonempty nopass nope notempty nothing notnull nowhere null nullable
number numbers numeric nvarchar object objects often once oneof only optionnel other others otherwise ours outside
overrides partial parts payments people perhaps permit pflicht phrase please plugin plus pointer policy preview
prompted prompts protect proxy publickey pushed quelle queried query quite quoted random rather readonly really
recover recovery redacted regexp reject rejected remember repeat requis requisito returns reused revealed salted
samples schema scopes scram script secured secures select sends sentinel session seven several shadow should shown
silent simple since sixteen small smtp snakecase some someone sometimes speak special specific specify stored strict
strings strongly stuff submitted such sudo symbol symbols system takes tells terminal tested tests textarea textbox
textfield that their them then there these they thing things this those though three through today toggled token
toolong tooshort tries trim truncated tuples twelve twice type typed types unchecked undef under unencrypted
unhashed unicode union unix unless unsafe unsigned until upper uppercase used usernames users uses using usually
uuid validator values varbinary varchar variable variant vector verified verify very visible void wants webhook
weird were what when where whether which while whole whose will wird within would writable write writer wrong yours
"""
_SAID = frozenset(_SAID_WORDS.split()) | _CODE
"""What is said of a password, of a field for one or of its type in one word, and no password."""

_DEFAULTS = re.compile(
    r"(?i)change(?:it|me|this)|wordpress|airflow|keycloak|grafana|minio|redis|nextcloud|gitlab|gitea|jenkins|elastic"
    r"|kibana|django|drupal|joomla|mailtrap|mailhog|milvus|sysadmin|administrator|passe?$|pas+word|^(?:ftp|db|my|test|some)"
    r"(?:user|word)?$|^sensitive|secure$|removed|hidden|privacy|gesperrt|^against$|always|yesterday|tomorrow|^please|^s+h+$|^hello"
)
"""What programs come with, what is printed in manuals, and what takes the place of a password that was taken out."""

_TRANSLATED_WORDS = """
adgangskode autentiseringskod avain borinpeyv cekpet chiave clave confidentiel contrasenya contrasinal cyfrinair
fjalekalim fjalekalimi geheim geheimnis geslo gizli gizlianahtar hasla hemlighet heslo iphasiwedi jelszo kalmarsirri
katalaluan katasandi kennwort klucz kunci kupuhipa kwachso llave losen loynior loyniord lozinka lozinku lykilor
lykilord maxfiysoz nenomsecret nogle nosaukums noslepums nyckel nywila parola parole paroli parolu parool pasahitza
pasfhocal pasowo passord passwort passwuert pasvorto pasword rahasia salainen salasana salaus sandi schlussel
secreto secretul segredo segretissimo segreto sekret sekretas senha sifra sir slaptasraktas slaptazodis sleutel
taikalausa tajemnica tajne tajny tana tessera titkoskulcs tofaktorkode trebo tvafaktorskod wachtwoordzin wachtzin
wagwoord zaporka
"""
_TRANSLATED = frozenset(_TRANSLATED_WORDS.split())
"""Password, secret and key in other languages, without accents: what stands behind the name in a table of labels."""

_SHORTEST_WORD = 6

_TWO_WORDS = 16
"""Letters of a word that is two, whatever it ends on, unless the longest words there are end so."""

_LONG_ENDS = re.compile(
    r"(?i)(?:[ts]ions?|ment|ness|ity|[ai]lly|ung|ungen|heit|keit|schaft|ized|ised|ated|ical|ist|ism)$"
)


def chosen_word(value: str) -> bool:
    """A word, where its place leaves no doubt that it is a password: any but what is said of one, and names of code.

    Words joined are passwords in more places; one word alone, however it is written, is one only where somebody gave it
    to a password.
    """
    bare = value.rstrip("!?*#.@$%&+")
    if plain_letters(bare) in SAID:
        return False
    if word_password(value):
        return _DEFAULTS.search(bare) is None and plain_letters(bare) not in _TRANSLATED
    if is_placeholder(value) or is_published(value) or _TELLS.search(bare) or not bare.isalpha():
        return False
    plain = plain_letters(bare)
    if _DEFAULTS.search(bare) or plain in _TRANSLATED or len(plain) < len(bare) - 1:
        return False
    pieces = [piece.lower() for piece in _PIECE.findall(bare)]
    if len(bare) < _SHORTEST_WORD or len(pieces) > _MOST_PIECES:
        return False
    said = [piece in _SAID or piece.removesuffix("s") in _SAID or len(piece) < 3 for piece in pieces]
    if len(pieces) > 1:
        return bare[0].isupper() and not all(said) and max(map(len, pieces)) >= 4
    halves = any(
        pieces[0][:place] in _SAID and pieces[0][place:] in _SAID for place in range(3, len(bare) - 2)
    )
    ends = _LONG_ENDS if len(bare) >= _TWO_WORDS else _ENDS
    return not said[0] and not halves and not _KNOWN.search(bare) and ends.search(bare) is None


def is_said(word: str) -> bool:
    """Say whether a word is a name of code, what programs come with, or tells that it stands for a password."""
    plain = plain_letters(word)
    known = plain in _SAID or plain.removesuffix("s") in _SAID or plain in _TRANSLATED
    return known or any(pattern.search(word) for pattern in (_TELLS, _DEFAULTS, _KNOWN))


def pieces_of(word: str) -> list[str]:
    """Return the words of one that is written in humps, in small letters."""
    return [piece.lower() for piece in _PIECE.findall(word)]


def plain_letters(word: str) -> str:
    """Return a word in small letters of ASCII, as far as accents make the difference."""
    return unicodedata.normalize("NFKD", word.lower()).encode("ascii", "ignore").decode()


_MOST_PIECES = 4
"""Words of a password that are told by great letters; base64 has more."""


def url_password(value: str) -> bool:
    """A password in an address; short and simple ones count, words for a password do not."""
    stand_in = re.fullmatch(r"(?i)pass(?:word)?|pwd|secret|user(?:name)?", value)
    return stand_in is None and not is_placeholder(value)


def basic_login(value: str) -> bool:
    """User and password in base64, as RFC 7617 and RFC 4616 write them; not the example there."""
    user, word = read_login(value)
    return user != "Aladdin" and len(word.strip()) >= 4 and word[0] != " " and url_password(word)


def given_password(value: str) -> bool:
    """What a function takes for a password: a word or any value that somebody could have chosen."""
    return chosen_word(value) or (not value.isalpha() and password(value))
