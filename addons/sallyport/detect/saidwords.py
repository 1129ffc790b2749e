"""What is said of passwords, where one could stand: in English, German, French, Spanish, Italian, Dutch and others."""

_ENGLISH = """
absent accept accepted access accessible account accurate active activity actual admin administrator admins
again against ahead alive allow allowance almost alone alphanumeric already alright also alternative
although altogether always annoying another answer anybody anymore anyone anything anyway anywhere april
archive ascii asking asleep assertion attack attacker attacks audit august auth authentication available
avoid aware away awful back backwards badly bare basic because become been before begin behind being believe
belong belongs below beneath beside besides best better between beyond birthdate birthday birthplace blank
block bogus both breach breaches bring broken browser business busy button bytes capital capitals case
caution certain challenge change changes cheap check choice choose chosen classified clean clear cleartext
click clock close code combination combo common company complete completely complex compliant comply
comprise compromise compulsory computer concatenation confidential confirm connect connection considered
consist consistent constant constraint contain contained contains content continue convenient copy corporate
correctly corrupt could couple crackable critical cross crucial cryptic current customer cyrillic daily damn
database date dead december decent decide decline decrypt deep default defence defense delay delete demo
denied deny desk dialog dictionary different difficult digit direct dirty disable disappear discover
discovery displayed does doing done doubtful down dreadful dumb dunno duplicate during easier easiest easy
eight either eleven else elsewhere email employee employees enable encode encoding encrypt encryption
english enough ensure enter entire entries entropy entry equal erase error especially essential even ever
every everybody everyone everything everywhere exact example excellent except exempt existing expire expires
expiring expiry explicit export extra fail failing fails failure fallback family fault faulty favorite
favourite february field fields file fine finish first five fixed flag foolish forbid force foreign forever
forget forgot forgotten form format former four fresh friday friend friends front further future gain game
gave generate genuine given gives global gone good goodbye great guess hackers hacking half hard harder
hardest hash hashing heard hello help helpdesk hence here herself hidden hide high higher himself hint hints
history hold holds home hopefully hotspot hours however http human ideal identical identity idiotic illegal
immediate immutable important impossible improve inactive include includes incomplete increase indeed
independent individual infinite information initial inside install instead instructions insufficient intact
integer internal internet into intruder invent irrelevant issue issues itself january just keep keeps kept
keyboard kind knew know known knows label lacking laptop large last lasting late later latest latin latter
leak leaking leaks learn least leave left legit length lengthy less letter letters like likely limit line
list listed live local locate locked log logging login logins logon long longer longest look looks loose
lose loss lost lots lower lowercase machine made mail main make makes male manager mandatory manual many
march mark marketing masked match matches matching maybe mean means meanwhile meet meeting member memorable
memory mention merely message method might mine minimal minimum minor minute minutes mismatch mismatched
misplaced missing misspelled mistyped mixed mobile moment monday month monthly months more most mostly much
multiple must myself name names naming near needed needs neither never next nine nobody none normal note
nothing notice noun novel november nowhere null number numbers numeric obscure obtain obvious occasion
october office offline often okay older oldest once ongoing online only onto open optimal option order
organisation organization original other others otherwise ours ourselves outdated outside outstanding over
overall overdue overly owner page paper part partial party pass past pattern pending people perfect perhaps
permanent permit person personal persons phishing phone phrase phrases pick piece place placed placeholder
plain plaintext platform plenty point pointless policy poor popular possible post potential practice
precious precise predictable present pressing pretty prevent prevention preview previous primary print prior
privacy private probably problem problems procedure proceed process profile prohibited prompt prompting
prompts proof proper protect protection protocol proven proxy public pure purpose query question questions
quick quickly quiet quite random rare rather reach read readable ready real realise realize really reason
reasonable receipt receive recent reception recommend record recover recovery redundant refuse regain
register registration regular reject rejected related relevant reliable reluctant remain remember reminder
remote removal remove repeat repeats replace reply report request require requirement requirements requires
resend reset resets resistant resolve respond response rest restore restrict results retry return reusable
reuse reveal revealing review right risk risks robust role rotate rotation rough round route rule rules safe
safely safer safest sake salt same sanity satisfy saturday save scheme screen search second secondary
seconds secrecy secret section secure securely security seed seem seems select selected self send sense
sensible sensitive sent sentence separate separately september sequence serious serve server service session
setting setup seven several severe shall share shared shares sharing shop short shorten shorter shortest
should show shown shows sign silly similar simple simpler simplest simply since single sixteen slow small
smart somebody someone something sometimes somewhere soon sorry sound source spaces special specific specify
spelling stand standard start starting starts statement static stay stays steal step steps still stolen stop
storage store stored stores straight strange strength strict string strings strong stronger strongest stuck
stuff stupid subject submit such sufficient suitable sunday support supposed sure surely surname swap switch
symbols sync synchronise synchronize system table take taken takes target team teams tell temporarily
temporary terrible test testing tests text than thank thanks that their them themselves then there therefore
these they thieves thing things think third thirteen thirty this those though three through thursday thus
ticket tickets time times title today together token tokens tomorrow tonight took topic total touch tough
toward towards transfer tricky tried tries trigger trivial true truly trust truth tuesday turn twelve twenty
twice type typed typing typo unable unaltered unauthorized unavailable unchanged unclear under unicode
unique unknown unless unlike unlikely unlock unsafe unset until unusual update updates upon upper uppercase
upset urgent used useful useless user username usernames users uses usual valid validate value values
variable various vault verify version very viable view visible visit vital void vulnerable wait waiting want
wanted wants warning weak weaker weakest website wednesday week weekly weeks weird well went were what
whatever when whenever where wherever whether which while whoever whole whose wide will willing wise wish
with within without wonderful word words work working works worse worst worth worthless would write wrong
year yearly years yesterday your yours yourself zero zeros
bcrypt scrypt
"""

_GERMAN = """
abends aber abgelaufen abgesprochen aktiv aktuell alle allein allem allen aller allerdings alles allgemein
also alte alten alter altes anbei ander andere anderem anderen anderer anderes andern anders anfangs
anfordern anfrage angabe angeben anmelden anmeldung ansonsten anwender anzeigen auch aufgabe aufkleber
aushang aussen auswendig basis bedarf befehl beginn behalten beide beiden beim bekannt beliebig benutzen
benutzer bereits besonders besser bestandteil bestatigen bestatigt bestens bestimmt bisher bitte bleibt
brauche chef computer dabei dadurch dafur dahinter damals damit danach daneben danke dann daran darauf darin
darum darunter dass dasselbe datei davon davor dazu deiner demnach denn dennoch derselbe deshalb dessen
deutlich diese dieselbe diesem diesen dieser dieses digital direkt doch dort draussen dringend drinnen
dritte durch ebenfalls ebenso echt egal eigene einem einen einer eines einfach eingabe eingeben einloggen
einmal eintragen einzig ende endlich englisch entweder erfahren erfragen erneuern erneut erraten erst erste
ersten etwas extern faktor falls falsch fehler fehlerhaft fehlt fest festplatte firma folgen folgt formular
frage freitag fremd fruh fruher ganz garantiert geandert geheim geheimnis geheimsache gehort gelegenheit
genau genauso gern gerne gesetzt gestern getrennt gewesen gilt gleich gleichen grosse grund guten habe haben
haette halt handy haufig hause heisst heute hier hilfe hinweis immer index inhalt innen intern irgendwas
irgendwo ist ja jahr jahre jede jedem jeden jeder jedes jedoch jemand jetzt kalender kann kaum kein keine
keinem keinen keiner kollege komplett komplex komplexer kompliziert kompromittiert korrekt kunde kundin kurz
kurze kurzem kurzer lang lange langer langes langst laptop lasst laut leer leicht leichter leider lesbar
letzte letzten liegt link login macht magisch manager manchmal mehr mein meine meinem meinen meistens
merkbar merken mindestens mist mitarbeiter mitteilung mittel modern moglich monat montag morgen muss musste
nach nachdem nachfrage nachher nachste nachsten nahe name namen namlich naturlich neben nein neue neuem
neuen neuer neues nicht nichts niemals niemand nirgends nochmal nochmals noetig normal notig notiz notwendig
null nummer nutzen nutzer oben oder offen oft ohne optional ordnung ortlich papier passend personlich
pflicht pflichtfeld post poster privat problem protokoll prufen rechner regel regelmassig richtig sache samt
satz schild schlecht schluss schnell schon schreiben schrift schutz schwach schwer schwierig sehr sein seine
seinem seinen seit selbe selbst selten server setzen sicher sicherer sicherheit siehe sind sodass sofort
sogar solche sondern sonst sowie spater speichern sperre standard stark starker startklar stelle stets
stimmt streng suche system tabu tag tage teil telefon temporar test text ticket tipp trotz trotzdem uber
uberall uberhaupt ublich umlaute unbedingt ungefahr ungultig unklar unsicher unten unter usb verboten
verfallen vergeben vergessen verloren verwenden viel viele vielleicht voll vollig vom von vor voraus vorerst
vorgabe vorgaben vorhanden vorher wahlen wann warum wechsel wegen weil weiter weitergeben weiterhin welche
welches wenig wenigstens wenn werde werden wichtig wieder wiederholen wirklich wissen woanders woche wochen
wohl worden wort wunsch wurde zahl zeichen zeichenfolge zeichenkette zeit zentral zettel ziemlich zu zudem
zuerst zufall zufallig zugang zugriff zukunft zulassig zuletzt zumindest zuruck zurucksetzen zusammen
zusatzlich zwar zwei zweite zwingend
"""

_FRENCH = """
absent acces actuel actuelle adresse affiche afin ainsi alors ancien ancienne apres assez attente attention
aucun aucune aujourd aussi autant automatique autre autres avance avant avec avoir base beaucoup bien
bientot bloque bonne cache cadre caracteres celle celui cependant certain cette changer chaque chez chiffre
chiffres clair classique clavier code comme comment complexe compris compromis compte confidentiel confirme
conforme connexion connu conserve consigne contre convenu copie correct correcte coup courant court courte
crypte dans date debut dedans defaut dehors deja demain demande demandee dernier derniere dessous dessus
deux devine devrait different differente difficile digne dire directement donc donne dont double droit dure
echoue ecran ecrit effet elle encore enfin enregistre ensuite entre envoye errone erronee espace essai etait
etat ete etre exact exemple exige expire expiree facile facultatif facultative faible fausse faux fichier
fois fond force forme fort forte fourni fournir garde genere grand gratuit haut heure hier hors ici
identique illisible immediat impossible incluse inconnu inconnue incorrecte indique indispensable initial
inscrit insuffisant interdit interne invalide jamais jour jours justement laisse lettre lettres leur libre
ligne liste local long longtemps longue lors lorsque mail maintenant mais majuscule mauvais mauvaise maximum
meilleur meme memes mention message mien minimum minuscule modifie modifier moins mois moment mots multiple
necessaire necessite nom nombre non normal note notre nous nouveau nouvelle nulle numero obligatoire oblige
offert optionnel optionnelle oublie oubliee oublier ouvert parce parfait parfois partage particulier partie
partir partout perdu perdue perime permanent personne personnel personnelle petit phrase pirate place plein
plus plusieurs plutot possible pour pourquoi pourtant precis premier premiere pres present presque priori
prive prochain propre protege provisoire public puis quand quel quelle quelque quelquefois question quoi
rapide recent recu refuse remplace renouvele requis requise reste robuste saisi saisie saisir sans sauf
seconde secours secret secrete secteur securise securite selon semaine sensible sera serait seul seule
seulement signe simple sinon soit solide souvent specifique standard suivant suivante sujet support sur sure
surtout systeme tard telephone tellement temporaire temps toujours tous tout toute toutefois transmis
travers tres trois trop trouve unique utile utilisable utilisateur valable valide vide visible voici voila
voir votre vous vrai vraiment
demander demandez voyez
"""

_SPANISH = """
abierta abierto acceso actual adentro afuera ahora alguien alguno alli anterior antes antigua antiguo apenas
aqui archivo asi aun aunque ayer bastante bien buena bueno cada cadena caducada casa casi caso celular clara
claro clave cliente codigo como compartida compleja completa completamente completo complicada compromiso
comun con conmigo conocida contra correcta correcto correo corta corto cosa cual cualquier cuando cuanto
cuenta debajo debe debil demasiado dentro desconocida despues detras diferente diferentes dificil
directamente distinta distinto donde duda ejemplo ella ello encima enseguida entonces entre equivocada
equivocado erronea erroneo error escrita esta estaba estas este esto estos estricta exacta exigida facil
falsa falso favor fecha fija final formulario frase fuera fuerte fuerza general genial gracias grande hace
hacia hasta hola hora hoy igual iguales importante imposible inicial insegura inutil invalida invalido jamas
larga largo lenta letras linea lista llave local luego lunes mala malo manana mas mayor mayusculas mediante
mejor menos mensaje mes mientras minima minimo minusculas misma mismo momento mucho muestra muy nada nadie
necesaria necesario ninguna ninguno nombre normal nueva nuevo numero numeros nunca obligada obligatoria
obligatorio obsoleta ocasion octubre oculta ocultas oficina olvidada opcional otra otras otro otros palabra
palabras papel para parte pero persona personal poca poco popular porque posible precisa primera primero
principal privada privado problema pronto propia propio publica publico pues punto que quien quiza rapido
rara razon real recien requerida requerido revisada robusta sabia secreta secreto segun segunda segura
seguras seguridad seguro semana sencilla sencillo sensible serie siempre siguiente simple sin sino sistema
sobre sola solamente solo sorpresa suficiente suya tal tambien tampoco tanto tarde telefono temporal tiempo
tipo toda todavia todo todos tonta trabajo ultima unica unico usuario vacia vacio vale valida valido varias
veces vence veraz verdad vez vieja viejo vigente visible vista vuestra
consulta consultad consultar pedid pedir pidela pregunta preguntad preguntadme preguntale preguntar
"""

_ITALIAN = """
abbastanza adesso aiuto alcuna allora alto altra altre altri altro anche ancora aperta appena attiva attuale
avanti banale bene breve buona caratteri casa casuale cattiva chiara chiaro chiave chiunque cifrata circa
codice come complessa complicata compresa comune comunque con conferma confermata corretta corretto corta
corto cosa cosi dalla data davvero debole dentro desktop dimenticata dimmela diversa diverse diverso domani
dopo doppia dove dunque durante ecco efficace errata errato esatta esempio facile facoltativa falsa fatta
fine fino fissa forma forse forte frase fuori futuro generata generica gia giorni giorno giusta giusto
grande identica ieri ignota importante impossibile incerta incognita indietro infine iniziale insicura
insieme invalida invece lettere libera lista locale login lunga lungo maiuscole male mancante mandamela
manuale meglio meno mente mese minima minimo minuscole modo molto momento nascosta necessaria necessario
nessuna nessuno niente nome normale nostra nota nulla numeri numero nuova nuovo obbligatoria obbligatorio
obsoleta occasione oggi ogni ognuno oltre omessa opzionale ora ormai ottima parola parole parte perche
perduta perfetta pero persa personale poca poco poi porta possibile posta presto prima primaria privata
probabile problema prossima protetta provvisoria pubblica pure qualche qualcosa qualcuno quale qualsiasi
quando quanto quasi quella quello questa questo qui quindi recente resta richiesta richiesto ricordamela
ricordata ripetuta riservata riunione robusta rotta sbagliata sbagliato scaduta scontata scritta scrivimela
seconda segreta segreto seguente semplice sempre sensibile senza sera settimana sicura sicurezza sicuro
simile sistema smarrita soggetta sola solida solita solo soltanto sotto spesso standard stata stessa stesso
strana stretta subito sufficiente tale tanta tanto tarda telefono tempo temporanea testo tipo tolta tra
troppo tua tutta tutte tutti tutto ufficio ultima unica unico universale usata utente utile vaga valida
valido vecchia vecchio vera vero vietata visibile vista visto volta volte vuota vuoto
chiedere chiedete chiedetela chiedi domandare
"""

_DUTCH = """
aan aangepast achter achteraf actief actueel afgelopen algemeen alleen allemaal alles alsjeblieft altijd
ander andere anders antwoord bang beetje beheer beide bekend belangrijk beneden beter binnen blijft
blijkbaar boven buiten computer correct daar daarna daarom dagen dan dat definitief dezelfde dicht dichtbij
dit doen door dringend duidelijk dus echt een eenvoudig eerder eerst eerste eigen eigenlijk eind elkaar elke
enkel erg ergens essentieel even extra fout foutief gaat gauw geen gegevens geheim gehele geldig gelijk
genoeg gevoelig gewoon gisteren goed graag groot haar had heeft hele helemaal herhaal hetzelfde hier
hierboven hoe hoofdletters hoog ieder iedereen iemand iets ingesteld inloggen instelling intern invullen ja
jaar jammer jou jouw juist kan klaar klant klein klopt komt kort korter kwijt laat laatste lang langer later
leeg lees leesbaar letters lijst links login maand maandag maar man manier meer meestal mensen met midden
mij mijn minder minimaal minimum misschien moeilijk moet mogelijk morgen naam naar nadat natuurlijk nee
nergens niemand niet niets nieuw nieuwe nodig nog nogmaals nooit normaal nummer ok omdat onbekend onder
ongeldig onjuist onthouden onveilig ooit ook open openbaar opgeslagen opnieuw optioneel oud oude over overal
paar papier persoonlijk precies prive probleem publiek raar reeds regel rond simpel sinds slecht snel soms
sorry standaard sterk sterker strikt systeem te tekens tekst telefoon terug tijd tijdelijk toch toegang toen
top tot totdat tussen tweede uit uiteraard uniek vaak vanaf vandaag vast veel veilig veiliger veld ver
verborgen verder vergeten verkeerd verlopen verloren verouderd verplicht vervallen verwijderd verzoek
volgende volledig voor vooral vorig vorige vrij waar waarom wanneer want wat week weer weg weinig welk welke
wellicht wie wijzigen willekeurig wilt woord woorden zeer zeker zelf zelfde zelfs zichtbaar zin zoals zonder
zwak
"""

_OTHERS = """
agora ainda aktivt aldrig algo alguem algum alle alltid altid antiga antigo aqui assim atual bardzo bedre
bedzie bekendt bez blad bledne bledny blevet bloqueada boa bom borta brak brug carta certa certo ciag codigo
completa comum correta correto curta curto czasem czyli depois derfor desverre dette diferente diferentes
dificil dlaczego dluga dlugie dobre dobrze dostep dowolne duas dziala dzis eget ela ele ellers embora endnu
enkelt ens errada errado errados erro esqueci esquecida essa esse esta este exemplo expirada facil feil
feilaktig fejl felaktigt fora forkert forsvundet forte fortfarande fraca fraco frase galt gammal gammelt
gdzie gemt genast glemt gyldig haslem haslo hemligt hemmelig hemmeligt here hoje idag igen igual ikke
importante inaczej incorreta incorretas incorreto incorretos inne inny inte invalida invalido invalidos isso
istedet jakies jamais jest jutro kendt korrekt kort krotkie langt latwe lengre letras ligger local longa
longo losenord losowe maior mais mangler mas mere mesma mesmo midlertidig midlertidigt mocne moje muito nada
nadal nazwa niedostepne niepoprawne nieprawidlowe niewazne nigdy ninguem nome nova novo nowe numero numeros
nunca ny nyt nytt obligatorisk obligatoriskt obowiazkowe obrigatoria obrigatorio ogiltigt ogsaa okand okant
ontem opcional opgraderet outra outro palavra para personlig pessoal pludselig pode ponownie poprawne porque
potrzebne pouco prawidlowe primeira privada privat proibida propria proste publica puste quando quem
requerida rigtig rigtigt riktig sakert saknas samma samme secreta secreto segura seguranca seguro sempre
senao siden sikker sikkert silne simples sistema slabe slowo sobre som somente staerk stare stark svag svagt
svakt tajne takie tambem telefonen temporaria temporario teraz toda todo tomme tomt tudo tylko tymczasowe
udloebet ugyldig ugyldigt ukendt ukryte ultima unica unik unikalne unikt ustawione usuario usynlig utgatt
utlopt vaere valfritt valgfri valgfrit vanskelig vazia vazio velha vigtig vigtigt viktig wazne wczoraj
widoczne wiecej wygaslo wymagane wymagany zabronione zapomniane zawsze zbyt zle zmienione znane znow
"""

_ROLES = """
account accounts administrator analyst approver area assistant author beheerder benutzer billing boot boss
buyer clerk client console contributor coworker customer dashboard developer director editor email employee
employer engineer etc everyone finance gast gaste gebruiker group groups gruppe guest guests home host
hosting hotel human intern invitado invite kunde lead leader lecteur lector leser local maintainer manager
master member members mitarbeiter moderator network operations operator opt ospite owner owners page panel
partner password patient physician portal poster publisher reader reporter reviewer sales schreiber server
settings staff student subscriber superuser supervisor supplier support system teacher team teams tech
technician tenant tester trainer user users usuario utente utilisateur vendor verwalter viewer visitor
watcher worker writer
"""

_COMPOUNDS = """
agent algorithm application asking attempt authenticator backup boxes breach change changer checker checks
complexity confirmation cracker cracking creation dialog dialogue dump encoder entry expiration exposure
fields filling form generator guard guessing guidelines hash hasher hashes history hygiene input keeper
length locker lockout manager managers mask masking meter mode module page parameter parameters parser
pattern popup prompt prompts property protection quality recovery regex reminder reset resets retrieval
reuse reveal rules safe salt salting screen section settings sharing sheet spray spraying stealer stealing
storage store strength sync tester toggle tool tools transfer typed update vault verification verifier
widget window wizard
"""

SAID = frozenset(
    word
    for text in (
        _ENGLISH,
        _GERMAN,
        _FRENCH,
        _SPANISH,
        _ITALIAN,
        _DUTCH,
        _OTHERS,
        _ROLES,
        _COMPOUNDS,
    )
    for word in text.split()
)
"""What stands where a password would, in small letters of ASCII."""
