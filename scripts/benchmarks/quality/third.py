# ruff: noqa: E501
"""A third author's surroundings: hurried people, old systems, exchange formats. No rule was tuned on them when they
were first measured; the figures of that day: mean F1 0.952, recall 0.906.
"""

from collections.abc import Sequence

from quality.texts import Field, Surroundings, Writer, camel, put, snake

FIELDS: Sequence[Field] = (
    ("contact mail", "EMAIL_ADDRESS"),
    ("Email 2", "EMAIL_ADDRESS"),
    ("notify", "EMAIL_ADDRESS"),
    ("emergency phone", "PHONE_NUMBER"),
    ("call back number", "PHONE_NUMBER"),
    ("Mobiltelefon", "PHONE_NUMBER"),
    ("Rückrufnummer", "PHONE_NUMBER"),
    ("Tel. privé", "PHONE_NUMBER"),
    ("n° de portable", "PHONE_NUMBER"),
    ("teléfono móvil", "PHONE_NUMBER"),
    ("cellulare", "PHONE_NUMBER"),
    ("WhatsApp", "PHONE_NUMBER"),
    ("sms to", "PHONE_NUMBER"),
    ("card", "CREDIT_CARD"),
    ("PAN (card)", "CREDIT_CARD"),
    ("Kreditkarte", "CREDIT_CARD"),
    ("refund IBAN", "IBAN_CODE"),
    ("Bankverbindung", "IBAN_CODE"),
    ("host address", "IP_ADDRESS"),
    ("X-Forwarded-For", "IP_ADDRESS"),
    ("wifi mac", "MAC_ADDRESS"),
    ("profile page", "URL"),
    ("SSN#", "US_SSN"),
    ("soc. sec. no", "US_SSN"),
    ("employee SSN", "US_SSN"),
    ("ITIN no", "US_ITIN"),
    ("pass no. (US passport)", "US_PASSPORT"),
    ("Driver's Lic. #", "US_DRIVER_LICENSE"),
    ("DL#", "US_DRIVER_LICENSE"),
    ("driving license no", "US_DRIVER_LICENSE"),
    ("state driver license id", "US_DRIVER_LICENSE"),
    ("deposit account number", "US_BANK_NUMBER"),
    ("bank account", "US_BANK_NUMBER"),
    ("NHS number", "UK_NHS"),
    ("N.I. number", "UK_NINO"),
    ("DNI/NIF", "ES_NIF"),
    ("NIE", "ES_NIE"),
    ("Cod. Fiscale", "IT_FISCAL_CODE"),
    ("Steuer-IdNr.", "DE_TAX_ID"),
    ("TIN (Germany)", "DE_TAX_ID"),
    ("Steuer ID", "DE_TAX_ID"),
    ("pers. Identifikationsnr.", "DE_TAX_ID"),
    ("Perso-Nr.", "DE_ID_CARD"),
    ("Reisepassnummer", "DE_ID_CARD"),
    ("INSEE", "FR_NIR"),
    ("BSN-nummer", "NL_BSN"),
    ("PESEL", "PL_PESEL"),
    ("UIDAI Aadhaar", "IN_AADHAAR"),
    ("PAN", "IN_PAN"),
    ("TFN", "AU_TFN"),
    ("ABN", "AU_ABN"),
    ("A.B.N.", "AU_ABN"),
    ("supplier ABN no", "AU_ABN"),
    ("Medicare no", "AU_MEDICARE"),
    ("NRIC/FIN", "SG_NRIC_FIN"),
    ("hetu", "FI_PERSONAL_IDENTITY_CODE"),
    ("resident registration no", "KR_RRN"),
    ("CPF do titular", "BR_CPF"),
    ("CNPJ da empresa", "BR_CNPJ"),
    ("SIN (Canada)", "CA_SIN"),
    ("pnr (personnummer)", "SE_PERSONNUMMER"),
    ("公民身份号码", "CN_RESIDENT_ID"),
    ("T.C. Kimlik", "TR_NATIONAL_ID"),
    ("RSA ID no", "ZA_ID_NUMBER"),
    ("prescriber DEA", "MEDICAL_LICENSE"),
    ("rendering NPI", "US_NPI"),
    ("routing no", "ABA_ROUTING_NUMBER"),
    ("RTN/ABA", "ABA_ROUTING_NUMBER"),
    ("MBI (Medicare)", "US_MBI"),
    ("driver number (DVLA)", "UK_DRIVING_LICENCE"),
    ("BTC", "CRYPTO"),
    ("D.O.B.", "DATE_TIME"),
    ("Geb.-Datum", "DATE_TIME"),
    ("né(e) le", "DATE_TIME"),
    ("data di nascita", "DATE_TIME"),
    ("billing address", "STREET_EN"),
    ("Lieferanschrift", "STREET_DE"),
    ("adresse de livraison", "STREET_FR"),
    ("dirección postal", "STREET_ES"),
    ("indirizzo di casa", "STREET_IT"),
    ("bezorgadres", "STREET_NL"),
)

CLEAN_FIELDS: Sequence[Field] = (
    ("sales order", "~order"),
    ("Auftrag", "~order"),
    ("n° de commande", "~order"),
    ("bill no", "~invoice"),
    ("factura", "~invoice"),
    ("app version", "~version"),
    ("driver version", "~version"),
    ("sha256", "~hash"),
    ("digest", "~hash"),
    ("trace id", "~uuid"),
    ("request", "~uuid"),
    ("last modified", "~timestamp"),
    ("expires", "~timestamp"),
    ("Betrag", "~price"),
    ("balance", "~price"),
    ("lat/lon", "~coordinates"),
    ("isbn", "~isbn"),
    ("shipment", "~tracking"),
    ("waybill", "~tracking"),
    ("serial no", "~part"),
    ("Teilenummer", "~part"),
    ("asset tag", "~part"),
    ("GTIN", "~ean"),
    ("due", "~date"),
    ("start date", "~date"),
    ("row count", "~number"),
    ("checksum", "~number"),
    ("offset", "~number"),
    ("case no", "~ticket"),
    ("bind", "~local"),
    ("state", "~name"),
)

PROSE = {
    "txt_me": "running late, just text me [[PHONE_NUMBER]] ok?",
    "txt_new_nr": "hey its [[=name]], this is my new nr [[PHONE_NUMBER]], delete the old one",
    "txt_mum": "Mum said to ring [[PHONE_NUMBER]] or, if nobody picks up, [[PHONE_NUMBER]].",
    "txt_es": "llámame al [[PHONE_NUMBER]] cuando salgas, mi correo es [[EMAIL_ADDRESS]]",
    "txt_de": "Erreichst du mich nicht, versuch es unter [[PHONE_NUMBER]] - oder schreib an [[EMAIL_ADDRESS]].",
    "txt_fr": "Vous pouvez me joindre au [[PHONE_NUMBER]] (laissez un message) ou par courriel : [[EMAIL_ADDRESS]]",
    "txt_nl": "Je kunt me bereiken op [[PHONE_NUMBER]], adres: [[STREET_NL]]",
    "txt_it": "Chiamami al [[PHONE_NUMBER]], il mio codice fiscale è [[IT_FISCAL_CODE]] e abito in [[STREET_IT]]",
    "invoice_phone": "Questions about [[~invoice]]? Phone us. Your invoice number [[~invoice]] and order [[~order]] must be quoted.",
    "two_ids": "Her SSN is [[US_SSN]] and the routing number is [[ABA_ROUTING_NUMBER]], account number [[US_BANK_NUMBER]].",
    "two_ids_de": "Steuer-ID [[DE_TAX_ID]], Ausweisnummer [[DE_ID_CARD]], IBAN [[IBAN_CODE]], Kundennummer [[~part]].",
    "two_ids_au": "Director's TFN is [[AU_TFN]], the company's ABN is [[AU_ABN]], Medicare [[AU_MEDICARE]].",
    "two_ids_uk": "NHS number [[UK_NHS]]; phone [[PHONE_NUMBER]]; NI number [[UK_NINO]]; ref [[~ticket]].",
    "two_ids_us": "Passport [[US_PASSPORT]] / DL [[US_DRIVER_LICENSE]] / SSN [[US_SSN]] / order [[~order]]",
    "two_ids_ca": "SIN [[CA_SIN]], phone [[PHONE_NUMBER]], purchase order [[~order]].",
    "vat_de": "In der Anlage N trage ich als Identifikationsnummer [[DE_TAX_ID]] ein, die meiner Frau ist [[DE_TAX_ID]].",
    "finanzamt": "Sehr geehrte Damen und Herren,\nzu meiner Steuernummer: die steuerliche ID lautet [[DE_TAX_ID]], geboren bin ich am [[DATE_TIME]].\nMit freundlichen Grüßen\n[[=name]]\n[[STREET_DE]]",
    "dmv": "At the DMV they told me my license ([[US_DRIVER_LICENSE]]) had been suspended since [[~date]].",
    "rental": "Renter: [[=name]], Driver License No. [[US_DRIVER_LICENSE]], exp. [[~date]], DOB [[DATE_TIME]], plate pending.",
    "cop": "Officer asked for her driver's license, number [[US_DRIVER_LICENSE]], then ran it; incident [[~ticket]].",
    "abn_invoice": "TAX INVOICE [[~invoice]]\n[[=firm]] Pty Ltd\nABN [[AU_ABN]]\nTotal incl. GST [[~price]]\nPay to BSB 062-000 quoting [[~order]]",
    "abn_prose": "We are registered under Australian Business Number [[AU_ABN]]; send remittance advice to [[EMAIL_ADDRESS]].",
    "vcard": "BEGIN:VCARD\nVERSION:3.0\nFN:[[=name]]\nTEL;TYPE=CELL:[[PHONE_NUMBER]]\nEMAIL;TYPE=INTERNET:[[EMAIL_ADDRESS]]\nURL:[[URL]]\nREV:20240312T102107Z\nUID:[[~uuid]]\nEND:VCARD",
    "ldif": "dn: uid=u[[~number]],ou=people\nmail: [[EMAIL_ADDRESS]]\ntelephoneNumber: [[PHONE_NUMBER]]\nmobile: [[PHONE_NUMBER]]\nmodifyTimestamp: 20240312102107Z",
    "sip": "INVITE sip:bob SIP/2.0\nVia: SIP/2.0/UDP [[IP_ADDRESS]]:5060\nCSeq: 314159 INVITE\nCall-ID: [[~uuid]]\nContent-Length: 142",
    "dhcp": "dhcpd: DHCPACK on [[IP_ADDRESS]] to [[MAC_ADDRESS]] (laptop) via eth0, lease 86400",
    "nginx": '[[IP_ADDRESS]] - - [12/Mar/2024:10:21:07 +0000] "GET /v1/items/[[~number]] HTTP/1.1" 200 5316 "-" "curl/8.5.0"',
    "sudo": "sshd[2112]: Failed password for invalid user admin from [[IP_ADDRESS]] port 51544 ssh2",
    "slackish": "[[=name]]  10:21\n> can somebody add [[EMAIL_ADDRESS]] to the channel\ndone, bumped [[~ticket]] too (build [[~version]])",
    "refund": "pls refund [[~price]] to [[CREDIT_CARD]] exp 09/27, tracking was [[~tracking]] and the barcode said [[~ean]]",
    "card_phone": "I paid with [[CREDIT_CARD]]; if it fails, phone [[PHONE_NUMBER]].",
    "hotel": "Late check-in for [[=name]], [[PHONE_NUMBER]], arriving [[~date]], 2 nights, rate [[~price]], deposit on [[CREDIT_CARD]].",
    "will": "I, [[=name]], born on [[DATE_TIME]] and residing at [[STREET_EN]], hereby revoke all former wills.",
    "obituary_es": "Nacido el [[DATE_TIME]] en Sevilla, con DNI [[ES_NIF]] y domicilio en [[STREET_ES]].",
    "pharma_fr": "Patient né le [[DATE_TIME]], n° de sécurité sociale [[FR_NIR]], tél. [[PHONE_NUMBER]], ordonnance du [[~date]].",
    "sv_mail": "Hej, mitt person-nr: [[SE_PERSONNUMMER]]. Fakturan [[~invoice]] är på [[~price]].",
    "pl_urzad": "Wniosek nr [[~order]], PESEL wnioskodawcy [[PL_PESEL]], tel. kom. [[PHONE_NUMBER]]",
    "br_chat": "meu cpf é [[BR_CPF]] e o cnpj da loja [[BR_CNPJ]], zap [[PHONE_NUMBER]]",
    "in_chat": "sir my aadhar card no is [[IN_AADHAAR]] and pan card [[IN_PAN]], kindly do the needful",
    "tr_chat": "TC kimlik numaram [[TR_NATIONAL_ID]], sipariş numarası [[~order]]",
    "za_chat": "his RSA ID is [[ZA_ID_NUMBER]] and the invoice is [[~invoice]]",
    "claims": "CLM*[[~number]]*150***11:B:1~ provider NPI [[US_NPI]], MBI [[US_MBI]], DEA [[MEDICAL_LICENSE]]",
    "wallet": "sent it to the wrong btc address!! [[CRYPTO]] :( tx [[~hash]]",
    "clean_invoice_phone": "Phone support is closed. Cite [[~invoice]] or [[~order]] when you mail us.",
    "clean_call": "call() returned [[~number]] at offset [[~number]], see [[~ticket]]; text me the hash [[~hash]]",
    "clean_parts_324": "Reorder parts [[~order]] and [[~part]]; the old part no. was [[~part]].",
    "clean_math": "solve 3x + 12 = 45; result [[~number]]; pi is 3.14159265358979; e = 2.718281828459045",
    "clean_iso": "ISO 8601-1:2019, RFC 9110, IEEE 802.11-2020, EN 301 549, DIN 5008:2020, page [[~range]]",
    "clean_sports": "Final score 101-98, quarters 25-22 28-30 24-19 24-27, attendance [[~number]]",
    "clean_route": "Train 100 555 0199 departs platform 4; seats [[~range]]; fare [[~price]]",
    "clean_lic": "The MIT license file v[[~version]] and driver package [[~part]] were updated on [[~date]].",
    "clean_tax": "The tax id form has 12 pages; the id of the record is [[~number]] and its etag [[~hash]].",
    "clean_log": "[[~timestamp]] worker=[[~number]] job=[[~uuid]] took [[~number]]ms rows=[[~number]] v=[[~version]]",
    "clean_sql": "UPDATE stock SET qty = [[~number]] WHERE sku = '[[~part]]' AND ean = '[[~ean]]' -- [[~ticket]]",
    "clean_diff": "index [[~hash]]..[[~hash]] 100644\n--- a/app.py\n+++ b/app.py\n@@ -12,7 +12,7 @@\n-VERSION = '[[~version]]'\n+VERSION = '[[~version]]'",
}


def _ini(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("[record]\n")
    for label, slot in rows[0]:
        w.add(f"{snake(label)}: ")
        put(w, slot)
        w.add("\n")


def _xml(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for row in rows:
        w.add("<rec>\n")
        for label, slot in row:
            w.add(f"  <{camel(label) or 'f'}>")
            put(w, slot)
            w.add(f"</{camel(label) or 'f'}>\n")
        w.add("</rec>\n")


def _php(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("$data = [\n")
    for label, slot in rows[0]:
        w.add(f"    '{snake(label)}' => '")
        put(w, slot)
        w.add("',\n")
    w.add("];")


def _bullets(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"* **{label}** - ")
        put(w, slot)
        w.add("\n")


def _tabs(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("\t".join(label for label, _ in rows[0]) + "\n")
    for row in rows:
        for index, (_, slot) in enumerate(row):
            w.add("\t" if index else "")
            put(w, slot)
        w.add("\n")


def _stacked(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"{label}\n")
        put(w, slot)
        w.add("\n\n")


def _keyval(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("level=info msg=saved")
    for label, slot in rows[0]:
        w.add(f' {snake(label)}="')
        put(w, slot)
        w.add('"')


def _sentences(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    for label, slot in rows[0]:
        w.add(f"The {label} is ")
        put(w, slot)
        w.add(". ")


def _mail_form(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.template("New submission from [[=name]]\n\n")
    for label, slot in rows[0]:
        w.add(f"> {label}?\n> ")
        put(w, slot)
        w.add("\n")


def _python(w: Writer, rows: Sequence[Sequence[Field]]) -> None:
    w.add("Customer(")
    for index, (label, slot) in enumerate(rows[0]):
        w.add((", " if index else "") + f"{snake(label) or 'f'}='")
        put(w, slot)
        w.add("'")
    w.add(")")


THIRD = Surroundings(
    PROSE,
    FIELDS,
    CLEAN_FIELDS,
    {
        "ini": _ini,
        "xml": _xml,
        "php": _php,
        "bullets": _bullets,
        "tabs": _tabs,
        "stacked": _stacked,
        "keyval": _keyval,
        "sentences": _sentences,
        "mail_form": _mail_form,
        "python": _python,
    },
)
