# ruff: noqa: E501
"""Surroundings that no rule was tuned on: written after the rules, measured once and then left alone."""

from collections.abc import Sequence

from quality.texts import Field, Surroundings, Writer, camel, put, snake

FIELDS: Sequence[Field] = (
    ("Mail", "EMAIL_ADDRESS"),
    ("reply to", "EMAIL_ADDRESS"),
    ("owner email", "EMAIL_ADDRESS"),
    ("login", "EMAIL_ADDRESS"),
    ("Cell phone", "PHONE_NUMBER"),
    ("Telephone number", "PHONE_NUMBER"),
    ("Handynummer", "PHONE_NUMBER"),
    ("Téléphone", "PHONE_NUMBER"),
    ("work phone", "PHONE_NUMBER"),
    ("Fax", "PHONE_NUMBER"),
    ("Payment card", "CREDIT_CARD"),
    ("cc number", "CREDIT_CARD"),
    ("Kontonummer (IBAN)", "IBAN_CODE"),
    ("payout iban", "IBAN_CODE"),
    ("source ip", "IP_ADDRESS"),
    ("last login from", "IP_ADDRESS"),
    ("peer", "IP_ADDRESS"),
    ("hw address", "MAC_ADDRESS"),
    ("link", "URL"),
    ("callback url", "URL"),
    ("Social Security No.", "US_SSN"),
    ("ssn", "US_SSN"),
    ("taxpayer id (ITIN)", "US_ITIN"),
    ("passport no", "US_PASSPORT"),
    ("passport", "US_PASSPORT"),
    ("DL number", "US_DRIVER_LICENSE"),
    ("drivers licence", "US_DRIVER_LICENSE"),
    ("bank acct no", "US_BANK_NUMBER"),
    ("checking account number", "US_BANK_NUMBER"),
    ("NHS no", "UK_NHS"),
    ("NINO", "UK_NINO"),
    ("nif", "ES_NIF"),
    ("documento de identidad", "ES_NIF"),
    ("N.I.E.", "ES_NIE"),
    ("CF (codice fiscale)", "IT_FISCAL_CODE"),
    ("IdNr", "DE_TAX_ID"),
    ("Steuerliche Identifikationsnummer", "DE_TAX_ID"),
    ("Ausweis-Nr.", "DE_ID_CARD"),
    ("n° sécu", "FR_NIR"),
    ("burgerservicenummer", "NL_BSN"),
    ("nr PESEL", "PL_PESEL"),
    ("aadhaar no", "IN_AADHAAR"),
    ("pan number", "IN_PAN"),
    ("tax file number", "AU_TFN"),
    ("Australian Business Number", "AU_ABN"),
    ("medicare card", "AU_MEDICARE"),
    ("nric no", "SG_NRIC_FIN"),
    ("henkilötunnus", "FI_PERSONAL_IDENTITY_CODE"),
    ("주민등록번호", "KR_RRN"),
    ("cpf", "BR_CPF"),
    ("cnpj", "BR_CNPJ"),
    ("social insurance number", "CA_SIN"),
    ("personnummer", "SE_PERSONNUMMER"),
    ("身份证号码", "CN_RESIDENT_ID"),
    ("tckn", "TR_NATIONAL_ID"),
    ("South African ID", "ZA_ID_NUMBER"),
    ("DEA #", "MEDICAL_LICENSE"),
    ("npi number", "US_NPI"),
    ("ABA routing", "ABA_ROUTING_NUMBER"),
    ("medicare beneficiary id", "US_MBI"),
    ("DVLA licence", "UK_DRIVING_LICENCE"),
    ("bitcoin wallet", "CRYPTO"),
    ("payout address (crypto)", "CRYPTO"),
    ("birth date", "DATE_TIME"),
    ("date de naissance", "DATE_TIME"),
    ("fecha de nacimiento", "DATE_TIME"),
    ("born", "DATE_TIME"),
    ("geboren am", "DATE_TIME"),
    ("home address", "STREET_EN"),
    ("shipping address", "STREET_EN"),
    ("Wohnanschrift", "STREET_DE"),
    ("domicile", "STREET_FR"),
    ("domicilio", "STREET_ES"),
    ("residenza", "STREET_IT"),
    ("woonadres", "STREET_NL"),
)

CLEAN_FIELDS: Sequence[Field] = (
    ("order ref", "~order"),
    ("PO number", "~order"),
    ("Rechnungsnummer", "~invoice"),
    ("release", "~version"),
    ("firmware", "~version"),
    ("commit", "~hash"),
    ("etag", "~hash"),
    ("correlation id", "~uuid"),
    ("guid", "~uuid"),
    ("updated at", "~timestamp"),
    ("event time", "~timestamp"),
    ("net amount", "~price"),
    ("Preis", "~price"),
    ("gps", "~coordinates"),
    ("isbn13", "~isbn"),
    ("parcel", "~tracking"),
    ("article", "~part"),
    ("item code", "~part"),
    ("barcode", "~ean"),
    ("delivery date", "~date"),
    ("stock", "~number"),
    ("views", "~number"),
    ("page range", "~range"),
    ("issue", "~ticket"),
    ("listen", "~local"),
    ("module", "~code"),
    ("colour", "~name"),
    ("weight in grams", "~number"),
    ("batch", "~part"),
)

PROSE = {
    "crm_note": "Spoke to [[=name]] today. New e-mail [[EMAIL_ADDRESS]], prefers to be called on [[PHONE_NUMBER]] after 5 pm. Renewal of licence key batch [[~part]] is [[~date]].",
    "booking": "Your booking [[~ticket]] is confirmed.\nGuest: [[=name]], [[STREET_EN]]\nPassport: [[US_PASSPORT]]\nCard on file: [[CREDIT_CARD]]\nTotal stay: [[~price]] ([[~date]])",
    "insurance": "Claim [[~ticket]]: the insured, [[=name]] (born [[DATE_TIME]]), holder of US driver license [[US_DRIVER_LICENSE]], reported damage of [[~price]] at [[STREET_EN]].",
    "bank_us": "Wire instructions: bank routing number [[ABA_ROUTING_NUMBER]], beneficiary account number [[US_BANK_NUMBER]], reference [[~invoice]].",
    "bank_eu": "Bitte überweisen Sie [[~price]] auf das Konto [[IBAN_CODE]] unter Angabe der Rechnung [[~invoice]]. Rückfragen an [[EMAIL_ADDRESS]].",
    "resume": "[[=name]]\n[[STREET_EN]]\n[[PHONE_NUMBER]] | [[EMAIL_ADDRESS]] | [[URL]]\n\nExperience\n2019-2023 [[=firm]], grew revenue from [[~price]] to [[~price]]",
    "firewall": "DROP IN=eth0 OUT= MAC=[[MAC_ADDRESS]] SRC=[[IP_ADDRESS]] DST=[[IP_ADDRESS]] LEN=60 TTL=49 ID=[[~number]] PROTO=TCP SPT=44112 DPT=22",
    "k8s": "E0312 10:21:07.123456       1 reflector.go:138] pod web-7d9f8b6c5-x2x7k: dial tcp [[IP_ADDRESS]]:443: i/o timeout (attempt [[~number]])",
    "mail_log": "postfix/smtp[4121]: 4F2A1C0B: to=<[[EMAIL_ADDRESS]]>, relay=mx.example.org[[[IP_ADDRESS]]]:25, delay=1.2, status=sent",
    "traceback": 'File "app.py", line 88, in notify\n    raise DeliveryError("could not reach [[EMAIL_ADDRESS]]")\nbuild [[~version]] ([[~hash]])',
    "ticket_reply": "Hello [[=name]],\n\nI changed your number to [[PHONE_NUMBER]] and refunded order [[~order]].\nParcel [[~tracking]] is on its way to [[STREET_EN]].\n\nRegards",
    "forum": "anyone else got an sms from [[PHONE_NUMBER]] asking for your SSN? mine is [[US_SSN]] lol, obviously I did not answer",
    "gp_letter": "Dear Dr, re: [[=name]], d.o.b. [[DATE_TIME]], NHS [[UK_NHS]]. Seen on [[~date]] with a cough. BP 120/80. Review in 6 weeks. Contact [[PHONE_NUMBER]].",
    "lohn_de": "Personalbogen: [[=name]], geboren am [[DATE_TIME]], wohnhaft [[STREET_DE]], IdNr. [[DE_TAX_ID]], IBAN [[IBAN_CODE]], Personalausweis Nr. [[DE_ID_CARD]].",
    "mietvertrag": "Die Wohnung [[STREET_DE]] wird ab [[~date]] für [[~price]] vermietet. Der Mieter ist unter [[PHONE_NUMBER]] und [[EMAIL_ADDRESS]] erreichbar.",
    "facture_fr": "Facture [[~invoice]]\nClient : [[=name]], [[STREET_FR]]\nTél. : [[PHONE_NUMBER]]\nIBAN : [[IBAN_CODE]]\nMontant TTC : [[~price]]",
    "alta_es": "Alta de paciente: [[=name]], NIF [[ES_NIF]], fecha de nacimiento [[DATE_TIME]], domicilio en [[STREET_ES]], móvil [[PHONE_NUMBER]].",
    "contratto_it": "Il sottoscritto [[=name]], nato il [[DATE_TIME]], residente in [[STREET_IT]], C.F. [[IT_FISCAL_CODE]], tel. [[PHONE_NUMBER]]",
    "huur_nl": "Huurder [[=name]], geboren op [[DATE_TIME]], wonende te [[STREET_NL]], BSN [[NL_BSN]], rekening [[IBAN_CODE]].",
    "cadastro_br": "Nome: [[=name]] / CPF: [[BR_CPF]] / celular: [[PHONE_NUMBER]] / pedido nº [[~order]]",
    "kyc_in": "Please verify Aadhaar number [[IN_AADHAAR]] and PAN card [[IN_PAN]] of [[=name]]; GST invoice [[~invoice]].",
    "au_form": "TFN: [[AU_TFN]]\nMedicare: [[AU_MEDICARE]]\nABN: [[AU_ABN]]\nEvent id: [[~uuid]]",
    "sv": "Hej! Mitt personnummer är [[SE_PERSONNUMMER]] och mobilen är [[PHONE_NUMBER]]. Ordernummer [[~order]].",
    "fi_tr": "Asiakas [[FI_PERSONAL_IDENTITY_CODE]] / müşteri TC kimlik [[TR_NATIONAL_ID]] / versiyon [[~version]]",
    "za": "Applicant's South African ID number is [[ZA_ID_NUMBER]], policy [[~ticket]].",
    "donate": "Donations welcome: [[CRYPTO]] (BTC/ETH wallet). Commit [[~hash]].",
    "pharmacy": "Rx [[~number]]: Dr. [[=name]], DEA [[MEDICAL_LICENSE]], NPI [[US_NPI]], patient Medicare no. [[US_MBI]].",
    "uk_hire": "Van hire: licence [[UK_DRIVING_LICENCE]], NI [[UK_NINO]], postcode [[UK_POSTCODE]], deposit [[~price]].",
    "tel_uri": '<a href="tel:[[PHONE_NUMBER]]">call</a> or write to <a href="mailto:[[EMAIL_ADDRESS]]">us</a>',
    "chat_short": "u there? text me [[PHONE_NUMBER]]",
    "chat_card": "its [[CREDIT_CARD]], 04/28, code 919, ship to [[STREET_EN]]",
    "go_code": 'cfg := Config{Addr: "[[IP_ADDRESS]]:8080", Admin: "[[EMAIL_ADDRESS]]", Version: "[[~version]]", Docs: "[[URL]]"}',
    "sql_where": "SELECT * FROM users WHERE email = '[[EMAIL_ADDRESS]]' OR last_ip = '[[IP_ADDRESS]]' OR order_no = '[[~order]]' LIMIT 100;",
    "yaml_inventory": "hosts:\n  - name: edge1\n    ip: [[IP_ADDRESS]]\n    mac: [[MAC_ADDRESS]]\n    image: registry/app:[[~version]]\n    sha: [[~hash]]",
    "git_log": "commit [[~hash]]\nAuthor: [[=name]] <[[EMAIL_ADDRESS]]>\nDate:   Tue Mar 12 10:21:07 2024 +0100\n\n    Fix [[~ticket]], bump to [[~version]]",
    "pl_mail": "Dzień dobry, mój PESEL to [[PL_PESEL]], proszę dzwonić: [[PHONE_NUMBER]]. Faktura [[~invoice]] na kwotę [[~price]].",
    "cn_form": "姓名：[[=name]]，身份证：[[CN_RESIDENT_ID]]，手机：[[PHONE_NUMBER]]，快递单号：[[~tracking]]",
    "clean_changelog": "## [[~version]] ([[~date]])\n* fix [[~ticket]] ([[~hash]])\n* bump from [[~version]] to [[~version]]\n* drop support for [[~local]]",
    "clean_bom": "Pos;Teil;Menge;Preis\n1;[[~part]];[[~number]];[[~price]]\n2;[[~part]];[[~number]];[[~price]]\n3;[[~ean]];[[~number]];[[~price]]",
    "clean_metrics": 'http_requests_total{code="200",build="[[~version]]"} [[~number]] [[~timestamp]]\nlatency_sum [[~number]]\nnode_boot [[~timestamp]]',
    "clean_biblio": "Smith J (2019) On parsers. J Comp 12(3):[[~range]]. ISBN [[~isbn]]. doi:10.1000/[[~number]]",
    "clean_logistics": "Shipment [[~tracking]] with container MSKU[[~number]], booking [[~order]], HS code 8471.30.01, gross [[~number]] kg, ETA [[~date]].",
    "clean_test": "assert parse('[[~order]]') == ['[[~part]]', '[[~number]]']\nassert seed == [[~number]]\n# took [[~number]] us at [[~timestamp]]",
    "clean_csv": "order_id,created,total,sku\n[[~order]],[[~timestamp]],[[~number]],[[~part]]\n[[~order]],[[~timestamp]],[[~number]],[[~part]]\n[[~order]],[[~timestamp]],[[~number]],[[~ean]]",
    "clean_bench": "run [[~number]] [[~number]] [[~number]] [[~number]]\nrun [[~number]] [[~number]] [[~number]] [[~number]]\nseed [[~number]] pos [[~coordinates]]",
}


def _properties(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"customer.{snake(label).replace('_', '-')} = ")
        put(w, slot)
        w.add("\n")


def _jsonl(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for row in rows:
        w.add("{")
        for index, (label, slot) in enumerate(row):
            w.add(("," if index else "") + f'"{snake(label)}":"')
            put(w, slot)
            w.add('"')
        w.add("}\n")


def _html(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("<table><tr>" + "".join(f"<th>{label}</th>" for label, _ in rows[0]) + "</tr></table>\n<dl>")
    for label, slot in rows[0]:
        w.add(f"<dt>{label}</dt><dd>")
        put(w, slot)
        w.add("</dd>\n")
    w.add("</dl>")


def _bare_csv(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("Data:\n\n" + "; ".join(label for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add("; " if index else "")
            put(w, slot)
        w.add("\n")


def _pipe(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add(" | ".join(label for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add(" | " if index else "")
            put(w, slot)
        w.add("\n")


def _form(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"{label}".ljust(28, ".") + " ")
        put(w, slot)
        w.add("\n")


def _qa(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"Agent: What is your {label}?\nCustomer: ")
        put(w, slot)
        w.add("\n")


def _terraform(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add('resource "acme_user" "u" {\n')
    for label, slot in rows[0]:
        w.add(f'  {snake(label):<24} = "')
        put(w, slot)
        w.add('"\n')
    w.add("}\n")


def _prose(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.template("For [[=name]] we have on record: ")
    for index, (label, slot) in enumerate(rows[0]):
        w.add((", " if index else "") + f"{label} ")
        put(w, slot)
    w.add(".")


def _java(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f'user.set{camel(label)[:1].upper()}{camel(label)[1:]}("')
        put(w, slot)
        w.add('");\n')


FRESH = Surroundings(
    PROSE,
    FIELDS,
    CLEAN_FIELDS,
    {
        "properties": _properties,
        "jsonl": _jsonl,
        "html": _html,
        "bare_csv": _bare_csv,
        "pipe": _pipe,
        "dotted_form": _form,
        "dialogue": _qa,
        "terraform": _terraform,
        "prose": _prose,
        "java": _java,
    },
)
