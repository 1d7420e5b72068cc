"""What people, firms and mail servers are called and say in the populations of the benchmarks."""

from __future__ import annotations

FIRST_NAMES = (  # noqa: SIM905 (a page of quotes and commas would say nothing)
    "Marie Jean Pierre Michel Nathalie Philippe Isabelle Alain Sylvie Patrick Catherine Nicolas Françoise "
    "Christophe Martine Laurent Christine Sébastien Valérie Frédéric Sandrine Stéphane Véronique David "
    "Stéphanie Olivier Céline Julien Monique Éric Sophie Thomas Jacqueline Daniel Élodie Pascal Aurélie "
    "Alexandre Anne François Julie Thierry Chantal Vincent Laurence Kevin Émilie Bruno Corinne Guillaume "
    "Virginie Romain Brigitte Jérôme Caroline Anthony Laëtitia Maxime Delphine Hervé Audrey Antoine "
    "Dominique Cédric Mélanie Benjamin Amélie Loïc Mathilde Gérard Chloé Arnaud Hélène Rémi Inès Théo Zoé "
    "Hugo Léa Mohamed Fatima Nadia Karim Samia Yanis Maëlle Noémie Gaëtan Anaïs Bérénice Joséphine Cyril "
    "Eugénie Fabrice Ghislaine Noël Lœtitia Jean-Marc Marie-Claude Anne-Sophie Jean-Baptiste "
).split()
LAST_NAMES = [
    *(  # noqa: SIM905
        "Martin Bernard Thomas Petit Robert Richard Durand Dubois Moreau Laurent Simon Michel Lefèbvre Leroy "
        "Roux David Bertrand Morel Fournier Girard Bonnet Dupont Lambert Fontaine Rousseau Vincent Müller "
        "Lefèvre Faure André Mercier Blanc Guérin Boyer Garnier Chevalier François Legrand Gauthier Garcia "
        "Perrin Robin Clément Morin Nicolas Henry Roussel Mathieu Gautier Masson Marchand Duval Denis Dumont "
        "Marie Lemaire Noël Meyer Dufour Meunier Brun Blanchard Giraud Joly Rivière Lucas Brunet Gaillard "
        "Barbier Arnaud Martinez Gérard Roche Renard Schmitt Roy Leroux Colin Vidal Caron Picard Roger Fabre "
        "Aubert Lemoine Renaud Dumas Lacroix Olivier Philippe Bourgeois Pierre Benoît Rey Leclerc Payet "
        "Rolland Leclercq Guillaume Lecomte Lopez Jean Dupuy Guillot Hubert Berger Carpentier Sánchez Dupuis "
        "Moulin Louis Deschamps Huet Vasseur Perez Boucher Fleury Royer Klein Jacquet Adam Paris Poirier "
        "Marty Aubry Guyot Carré Charles Renault Charpentier Ménard Maillard Baron Bertin Bailly Hervé "
        "Schneider Fernandez Le-Gall Collet Léger Bouvier Julien Prévost Millet Perrot Daniel Le-Roux Cousin "
        "Germain Breton Besson Langlois Rémy Nguyen Diallo "
    ).split(),
    "de La Tour",
    "d'Artois",
    "Le Goff",
]
TRADES = (
    "Boulangerie",
    "Garage",
    "Pharmacie",
    "Menuiserie",
    "Plomberie",
    "Restaurant",
    "Transports",
    "Maçonnerie",
    "SCI",
    "Coiffure",
    "Fleuriste",
    "Électricité",
    "Ambulances",
    "Librairie",
)

_FOR_NOW = (
    ("451 4.7.1 Greylisted, please try again later", "421 4.3.2 Service not available", "450 4.2.1 Mailbox busy (…)"),
    (70, 20, 10),
)
_FOR_GOOD = (
    (
        "550 5.1.1 No such user",
        "550 5.7.1 Message refused by policy",
        "552 5.2.2 Mailbox full",
        "554 5.7.1 Blocked by a list of senders",
        "550 5.4.1 Recipient address rejected: access denied (…)",
    ),
    (60, 12, 12, 8, 8),
)
REASONS = {False: _FOR_NOW, True: _FOR_GOOD}
"""What a mail server says, and how often: for now, and for good. Of some replies, each carries an id of its own."""
