# ruff: noqa: E501
"""The surroundings that the rules were tuned on."""

from collections.abc import Sequence

from quality.texts import Field, Surroundings, Writer, camel, put, snake

FIELDS: Sequence[Field] = (
    ("Email", "EMAIL_ADDRESS"),
    ("E-mail address", "EMAIL_ADDRESS"),
    ("Contact", "EMAIL_ADDRESS"),
    ("user", "EMAIL_ADDRESS"),
    ("Phone", "PHONE_NUMBER"),
    ("Mobile", "PHONE_NUMBER"),
    ("Tel", "PHONE_NUMBER"),
    ("Telefon", "PHONE_NUMBER"),
    ("Phone number", "PHONE_NUMBER"),
    ("Card number", "CREDIT_CARD"),
    ("Credit card", "CREDIT_CARD"),
    ("IBAN", "IBAN_CODE"),
    ("Bank account", "IBAN_CODE"),
    ("IP", "IP_ADDRESS"),
    ("Client IP", "IP_ADDRESS"),
    ("Remote addr", "IP_ADDRESS"),
    ("MAC", "MAC_ADDRESS"),
    ("Website", "URL"),
    ("Homepage", "URL"),
    ("SSN", "US_SSN"),
    ("Social security number", "US_SSN"),
    ("ITIN", "US_ITIN"),
    ("Passport number", "US_PASSPORT"),
    ("US passport", "US_PASSPORT"),
    ("Driver license", "US_DRIVER_LICENSE"),
    ("Driver's license number", "US_DRIVER_LICENSE"),
    ("Account number", "US_BANK_NUMBER"),
    ("Bank account number", "US_BANK_NUMBER"),
    ("NHS number", "UK_NHS"),
    ("NI number", "UK_NINO"),
    ("National insurance number", "UK_NINO"),
    ("DNI", "ES_NIF"),
    ("NIF", "ES_NIF"),
    ("NIE", "ES_NIE"),
    ("Codice fiscale", "IT_FISCAL_CODE"),
    ("Steuer-ID", "DE_TAX_ID"),
    ("Steueridentifikationsnummer", "DE_TAX_ID"),
    ("Personalausweis", "DE_ID_CARD"),
    ("Ausweisnummer", "DE_ID_CARD"),
    ("NIR", "FR_NIR"),
    ("Numéro de sécurité sociale", "FR_NIR"),
    ("BSN", "NL_BSN"),
    ("PESEL", "PL_PESEL"),
    ("Aadhaar", "IN_AADHAAR"),
    ("PAN", "IN_PAN"),
    ("TFN", "AU_TFN"),
    ("ABN", "AU_ABN"),
    ("Medicare number", "AU_MEDICARE"),
    ("NRIC", "SG_NRIC_FIN"),
    ("HETU", "FI_PERSONAL_IDENTITY_CODE"),
    ("RRN", "KR_RRN"),
    ("CPF", "BR_CPF"),
    ("CNPJ", "BR_CNPJ"),
    ("SIN", "CA_SIN"),
    ("Personnummer", "SE_PERSONNUMMER"),
    ("Resident ID", "CN_RESIDENT_ID"),
    ("TC Kimlik No", "TR_NATIONAL_ID"),
    ("SA ID number", "ZA_ID_NUMBER"),
    ("DEA number", "MEDICAL_LICENSE"),
    ("NPI", "US_NPI"),
    ("Routing number", "ABA_ROUTING_NUMBER"),
    ("MBI", "US_MBI"),
    ("Driving licence", "UK_DRIVING_LICENCE"),
    ("BTC address", "CRYPTO"),
    ("Wallet", "CRYPTO"),
    ("Date of birth", "DATE_TIME"),
    ("DOB", "DATE_TIME"),
    ("Birthday", "DATE_TIME"),
    ("Geburtsdatum", "DATE_TIME"),
    ("Address", "STREET_EN"),
    ("Street", "STREET_EN"),
    ("Anschrift", "STREET_DE"),
    ("Adresse", "STREET_FR"),
    ("Dirección", "STREET_ES"),
    ("Indirizzo", "STREET_IT"),
    ("Adres", "STREET_NL"),
)

CLEAN_FIELDS: Sequence[Field] = (
    ("Order", "~order"),
    ("Order number", "~order"),
    ("Invoice", "~invoice"),
    ("Version", "~version"),
    ("Build", "~version"),
    ("SHA", "~hash"),
    ("Checksum", "~hash"),
    ("ID", "~uuid"),
    ("Request ID", "~uuid"),
    ("Created", "~timestamp"),
    ("ts", "~timestamp"),
    ("Total", "~price"),
    ("Unit price", "~price"),
    ("Location", "~coordinates"),
    ("ISBN", "~isbn"),
    ("Tracking", "~tracking"),
    ("Part number", "~part"),
    ("SKU", "~part"),
    ("EAN", "~ean"),
    ("Due date", "~date"),
    ("Qty", "~number"),
    ("Count", "~number"),
    ("Pages", "~range"),
    ("Ticket", "~ticket"),
    ("Host", "~local"),
    ("Ref", "~code"),
    ("Status", "~name"),
    ("Amount", "~number"),
    ("Serial", "~part"),
    ("Quantity", "~number"),
)


def _json(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("[")
    for number, row in enumerate(rows):
        w.add(("," if number else "") + "\n  {")
        for index, (label, slot) in enumerate(row):
            w.add((", " if index else "") + f'"{camel(label)}": "')
            put(w, slot)
            w.add('"')
        w.add("}")
    w.add("\n]")


def _json_flat(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("Here is the payload, why does the API answer 422?\n```json\n{")
    for index, (label, slot) in enumerate(rows[0]):
        w.add((",\n" if index else "\n") + f'    "{snake(label)}": "')
        put(w, slot)
        w.add('"')
    w.add("\n}\n```")


def _csv(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add(",".join(snake(label) for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add(',"' if index else '"')
            put(w, slot)
            w.add('"')
        w.add("\n")


def _tsv(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("\t".join(label for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add("\t" if index else "")
            put(w, slot)
        w.add("\n")


def _semicolons(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add(";".join(label for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add(";" if index else "")
            put(w, slot)
        w.add("\n")


def _lines(before: str, between: str, after: str, spell: str = "label") -> "object":
    def render(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
        for row in rows:
            for label, slot in row:
                w.add(
                    before
                    + {"label": label, "snake": snake(label), "upper": snake(label).upper()}[spell]
                    + between
                )
                put(w, slot)
                w.add(after)
            w.add("\n")

    return render


def _xml(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for row in rows:
        w.add("<record>\n")
        for label, slot in row:
            w.add(f"  <{camel(label)}>")
            put(w, slot)
            w.add(f"</{camel(label)}>\n")
        w.add("</record>\n")


def _sql(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("INSERT INTO customers (" + ", ".join(snake(label) for label, _ in rows[0]) + ") VALUES\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add(", '" if index else "('")
            put(w, slot)
            w.add("'")
        w.add("),\n")


def _table(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("| " + " | ".join(label for label, _ in rows[0]) + " |\n" + "|---" * len(rows[0]) + "|\n")
    for row in rows:
        for _, slot in row:
            w.add("| ")
            put(w, slot)
            w.add(" ")
        w.add("|\n")


def _log(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for row in rows:
        w.template("[[~timestamp]] INFO worker[[~range]] ")
        for label, slot in row:
            w.add(f"{snake(label)}=")
            put(w, slot)
            w.add(" ")
        w.add("\n")


def _sentence(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.template("Please check the [[=word]] for [[=name]]: ")
    for index, (label, slot) in enumerate(rows[0]):
        w.add(("; " if index else "") + f"{label} is ")
        put(w, slot)
    w.add(". Thanks!")


def _python(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("customer = dict(\n")
    for label, slot in rows[0]:
        w.add(f"    {snake(label)}='")
        put(w, slot)
        w.add("',\n")
    w.add(")\nassert customer\n")


PROSE = {
    "invoice": "Invoice [[~invoice]]\n[[=firm]]\n[[STREET_EN]]\n\nBill to: [[=name]]\nPhone: [[PHONE_NUMBER]]\nQty [[~number]] x [[~part]] at [[~price]]\nTotal [[~price]]\nPay to IBAN [[IBAN_CODE]] by [[~date]]",
    "chat": "[10:32] Mia: can you send me the [[=word]]?\n[10:33] Tom: sure, my mail is [[EMAIL_ADDRESS]] or call [[PHONE_NUMBER]]\n[10:34] Mia: order [[~order]] arrived, tracking [[~tracking]]",
    "support": "Hi, this is [[=name]]. I ordered [[~part]] (order no. [[~order]]) and was charged twice on card [[CREDIT_CARD]]. You can reach me at [[PHONE_NUMBER]] or [[EMAIL_ADDRESS]].",
    "access_log": '[[IP_ADDRESS]] - - [12/Mar/2024:10:21:07 +0000] "GET /api/v2/items/[[~number]] HTTP/1.1" 200 5123 "-" "Mozilla/5.0 Chrome/120.0.6099.109"',
    "sshd": "Mar 12 10:21:07 web1 sshd[4121]: Failed password for root from [[IP_ADDRESS]] port 52211 ssh2",
    "nginx_error": "[[~timestamp]] [error] 31#31: *[[~number]] connect() failed, client: [[IP_ADDRESS]], server: _, upstream: 127.0.0.1:8080",
    "dhcp": "dhcpd: DHCPACK on [[IP_ADDRESS]] to [[MAC_ADDRESS]] via eth0",
    "signature": "Best regards,\n[[=name]]\n[[=firm]]\n[[STREET_EN]]\nT: [[PHONE_NUMBER]]\n[[EMAIL_ADDRESS]] | [[URL]]",
    "signature_de": "Mit freundlichen Grüßen\n[[=name]]\n[[=firm]]\n[[STREET_DE]]\nTel.: [[PHONE_NUMBER]]\nE-Mail: [[EMAIL_ADDRESS]]",
    "letter_fr": "Madame, Monsieur,\nje suis domicilié au [[STREET_FR]]. Mon numéro de sécurité sociale est [[FR_NIR]] et mon téléphone [[PHONE_NUMBER]]. Commande n° [[~order]].",
    "letter_es": "Estimados señores: mi DNI es [[ES_NIF]], vivo en [[STREET_ES]] y mi teléfono es [[PHONE_NUMBER]]. Pedido [[~order]], importe [[~price]].",
    "letter_it": "Gentili signori, abito in [[STREET_IT]], codice fiscale [[IT_FISCAL_CODE]], telefono [[PHONE_NUMBER]]. Ordine [[~order]].",
    "letter_nl": "Geachte heer, ik woon op [[STREET_NL]]. Mijn BSN is [[NL_BSN]] en u kunt mij bellen op [[PHONE_NUMBER]]. Bestelling [[~order]].",
    "letter_de": "Sehr geehrte Damen und Herren, ich wohne in der [[STREET_DE]]. Meine Steuer-ID lautet [[DE_TAX_ID]], meine IBAN [[IBAN_CODE]]. Rechnung [[~invoice]] über [[~price]].",
    "hr": "Employee [[=name]], born [[DATE_TIME]], SSN [[US_SSN]], direct deposit: routing number [[ABA_ROUTING_NUMBER]], account number [[US_BANK_NUMBER]].",
    "w2": "a Employee's social security number [[US_SSN]]\nb Employer identification number [[~part]]\n1 Wages [[~price]]  2 Federal income tax withheld [[~price]]",
    "clinic_us": "Patient [[=name]], DOB [[DATE_TIME]], MBI [[US_MBI]]. Prescriber DEA [[MEDICAL_LICENSE]], NPI [[US_NPI]]. Dose [[~number]] mg.",
    "clinic_uk": "Patient: [[=name]]\nDate of birth: [[DATE_TIME]]\nNHS No: [[UK_NHS]]\nSample [[~ticket]] collected [[~date]]",
    "payroll_uk": "Starter form: [[=name]], NI number [[UK_NINO]], address [[STREET_EN]], mobile [[PHONE_NUMBER]].",
    "passport": "My passport number is [[US_PASSPORT]] and my driver's license is [[US_DRIVER_LICENSE]]; booking reference [[~ticket]].",
    "crypto": "send 0.05 BTC to [[CRYPTO]] before [[~timestamp]], tx [[~hash]]",
    "card_note": "Visa [[CREDIT_CARD]] exp 11/27 cvv 123, receipt [[~number]]",
    "two_cards": "Charge [[CREDIT_CARD]] first; if declined use [[CREDIT_CARD]] instead. Order [[~order]].",
    "voicemail": "Transcript: hi it's [[=name]], call me back at [[PHONE_NUMBER]], or on my cell [[PHONE_NUMBER]], bye.",
    "whatsapp": "my new number: [[PHONE_NUMBER]] (whatsapp)",
    "contact_page": "Contact us: [[PHONE_NUMBER]] · [[EMAIL_ADDRESS]] · [[STREET_EN]]",
    "vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:[[=name]]\nTEL;TYPE=CELL:[[PHONE_NUMBER]]\nEMAIL:[[EMAIL_ADDRESS]]\nEND:VCARD",
    "email_header": "From: [[=name]] <[[EMAIL_ADDRESS]]>\nTo: [[EMAIL_ADDRESS]]\nSubject: [[=word]] [[~ticket]]\nMessage-Id: <20240312.1021@mx>\n\nHello,",
    "markdown": "See [the docs]([[URL]]) and mail <[[EMAIL_ADDRESS]]>.",
    "html": '<a href="mailto:[[EMAIL_ADDRESS]]">mail</a> <a href="[[URL]]">site</a> <p>Tel: [[PHONE_NUMBER]]</p>',
    "code_py": "# contact [[EMAIL_ADDRESS]]\nHOST = '[[IP_ADDRESS]]'\nVERSION = '[[~version]]'\nCOMMIT = '[[~hash]]'\nrequests.get('[[URL]]')",
    "code_js": "const user = { email: '[[EMAIL_ADDRESS]]', phone: '[[PHONE_NUMBER]]', id: '[[~uuid]]' };",
    "sg": "Applicant NRIC [[SG_NRIC_FIN]], tel [[PHONE_NUMBER]].",
    "in": "KYC: Aadhaar [[IN_AADHAAR]], PAN [[IN_PAN]], mobile [[PHONE_NUMBER]]",
    "br": "Cliente CPF [[BR_CPF]], empresa CNPJ [[BR_CNPJ]], pedido [[~order]]",
    "pl": "Klient: [[=name]], PESEL [[PL_PESEL]], tel. [[PHONE_NUMBER]], zamówienie [[~order]]",
    "au": "TFN [[AU_TFN]], ABN [[AU_ABN]], Medicare [[AU_MEDICARE]]",
    "fi": "Henkilötunnus [[FI_PERSONAL_IDENTITY_CODE]], tilaus [[~order]]",
    "ca": "My SIN is [[CA_SIN]], file [[~ticket]].",
    "kr": "주민등록번호 [[KR_RRN]] 주문 [[~order]]",
    "cn": "身份证号 [[CN_RESIDENT_ID]]，订单 [[~order]]，电话 [[PHONE_NUMBER]]",
    "clean_release": "Release [[~version]] ([[~hash]]) built [[~timestamp]]; previous [[~version]]. See [[~ticket]], pages [[~range]].",
    "clean_shop": "Item [[~part]] EAN [[~ean]] ISBN [[~isbn]] price [[~price]] qty [[~number]] shipped [[~date]] via [[~tracking]].",
    "clean_geo": "Sensor at [[~coordinates]] read [[~number]] at [[~timestamp]], firmware [[~version]].",
    "clean_trace": "trace [[~uuid]] span [[~hash]] took [[~number]] ns on [[~local]], code [[~code]]",
    "clean_math": "x = [[~number]] + [[~number]] / [[~number]]; range [[~range]]; seeds [[~number]] [[~number]] [[~number]]",
    "clean_orders": "Orders: [[~order]], [[~order]], [[~order]]. Invoices: [[~invoice]], [[~invoice]]. Refunded [[~price]] on [[~date]].",
    "clean_ids": "id,parent,sku\n[[~number]],[[~uuid]],[[~part]]\n[[~number]],[[~uuid]],[[~part]]\n[[~order]],[[~hash]],[[~isbn]]",
}

TUNED = Surroundings(
    PROSE,
    FIELDS,
    CLEAN_FIELDS,
    {
        "json": _json,
        "json_flat": _json_flat,
        "csv": _csv,
        "tsv": _tsv,
        "semicolons": _semicolons,
        "xml": _xml,
        "sql": _sql,
        "table": _table,
        "log": _log,
        "sentence": _sentence,
        "python": _python,
        "form": _lines("", ": ", "\n"),
        "yaml": _lines("  ", ": ", "\n", "snake"),
        "env": _lines("", "=", "\n", "upper"),
        "bullets": _lines("- **", "**: ", "\n"),
        "ini": _lines("", " = ", "\n", "snake"),
        "numbered": _lines("• ", " – ", "\n"),
    },
)
