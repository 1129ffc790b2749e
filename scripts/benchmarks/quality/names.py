# ruff: noqa: E501
"""Words to fill texts with: people, places, streets, firms. Invented combinations, no list of another project."""

GIVEN = ["Ada", "Ingrid", "Mateo", "Sofia", "Jonas", "Fatima", "Priya", "Chen", "Oluwaseun", "Marta", "Lukas", "Emma", "Noah", "Giulia", "Henrik", "Zoë", "Tomasz", "Anika", "Rafael", "Yuki", "Camille", "Bram", "Saskia", "Declan", "Aisha", "Viktor", "Elena", "Hamza", "Clara", "Piet"]
FAMILY = ["Lovelace", "Berg", "Fernandez", "Rossi", "Weber", "Khan", "Sharma", "Wei", "Adeyemi", "Nowak", "Schmidt", "Jansen", "Dubois", "Moretti", "Larsen", "Novak", "Kowalski", "Brandt", "Oliveira", "Tanaka", "Lefevre", "Visser", "Bakker", "Murphy", "Hussain", "Petrov", "Ionescu", "Malik", "Vogel", "Smit"]
FIRMS = ["Northwind Freight", "Acme Tooling", "Blauwater BV", "Fjord Analytics", "Lumen Dental", "Hafner & Sohn", "Casa Verde", "Atelier Morin", "Kestrel Insurance", "Quarry Bank", "Orchard Clinic", "Tidewater Logistics"]
TOWNS = {
    "en": ["Springfield", "Portland", "Bristol", "Leeds", "Austin", "Boulder", "Norwich", "Dayton"],
    "de": ["Hamburg", "Köln", "Jena", "Bad Homburg", "Freiburg", "Würzburg"],
    "fr": ["Lyon", "Rennes", "Saint-Étienne", "Nancy", "Pau"],
    "es": ["Sevilla", "Bilbao", "Alcalá de Henares", "Murcia"],
    "it": ["Torino", "Bari", "Reggio Emilia", "Padova"],
    "nl": ["Utrecht", "Den Haag", "Zwolle", "Breda"],
}
STREETS = {
    "en": [
        "Maple Street",
        "Oak Avenue",
        "King's Road",
        "Elm St",
        "Sunset Blvd",
        "Park Lane",
        "Mill Rd",
        "Cedar Court",
        "Highland Drive",
        "Station Rd.",
        "Willow Way",
        "Church Lane",
    ],
    "de": [
        "Hauptstraße",
        "Lindenweg",
        "Goethestr.",
        "Am Markt",
        "Berliner Allee",
        "Schillerplatz",
        "Rosengasse",
    ],
    "fr": [
        "rue de la Paix",
        "avenue Victor Hugo",
        "boulevard Voltaire",
        "place du Marché",
        "chemin des Lilas",
    ],
    "es": ["Calle Mayor", "Avenida de la Constitución", "Plaza de España", "C/ Alcalá", "Paseo del Prado"],
    "it": [
        "Via Garibaldi",
        "Corso Vittorio Emanuele",
        "Piazza del Duomo",
        "Viale Europa",
        "Via XX Settembre",
    ],
    "nl": ["Kerkstraat", "Prinsengracht", "Stationsweg", "Molenlaan", "Dorpsplein", "Oude Kade"],
}
WORDS = ["quarterly", "migration", "parser", "invoice", "review", "cluster", "pricing", "shipment", "onboarding", "checklist", "refund", "latency", "backlog", "survey", "template", "warranty", "handbook", "forecast", "schema", "rollout"]
