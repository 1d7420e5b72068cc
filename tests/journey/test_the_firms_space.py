"""The four steps of a firm, by hand, as somebody takes them who has never seen the software; and step 0, inviting while
the client file is created. The words are those of the guide that accountants have in hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.async_api import Locator, ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import PASSWORD, Cabinet, new_address, new_phone

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True, slots=True)
class Firm:
    """What a firm's people look for, in their language."""

    email: str
    password: str
    new_client: str
    client_name: str
    create: str
    users: str
    add: str
    first_name: str
    last_name: str
    code: str
    address: str
    mobile: str
    approver: str
    administrator: str
    sees_all: str
    own_reports: str
    by_email: str
    by_sms: str
    later: str
    sent_by_email: str
    sent_by_sms: str
    not_yet: str
    signed_in: str
    manage: str
    save: str
    remove: str
    remove_now: str
    needs_mobile: str
    needs_address: str
    needs_role: str
    taken: str
    gone: str


EN = Firm(
    email="E-mail address",
    password="Password",
    new_client="New client file",
    client_name="Client’s name",
    create="Create the client file",
    users="Users",
    add="Add a user",
    first_name="First name",
    last_name="Last name",
    code="Employee code",
    address="E-mail address",
    mobile="Mobile phone",
    approver="Expense approver",
    administrator="Administrator",
    sees_all="all documents",
    own_reports="May file their own expense reports",
    by_email="By e-mail",
    by_sms="By SMS",
    later="Invite later",
    sent_by_email="Sent by e-mail",
    sent_by_sms="Sent by SMS",
    not_yet="Not signed in yet",
    signed_in="Signed in",
    manage="Manage",
    save="Save",
    remove="Remove…",
    remove_now="Remove",
    needs_mobile="Type a mobile number: this person is invited by SMS.",
    needs_address="Type an e-mail address such as jeanne@example.com. It is mandatory: it is their login.",
    needs_role="Choose one of the roles.",
    taken="A user of this file already has this e-mail address",
    gone="The user is removed",
)
FR = Firm(
    email="Adresse e-mail",
    password="Mot de passe",
    new_client="Nouveau dossier",
    client_name="Nom du client",
    create="Créer le dossier",
    users="Utilisateurs",
    add="Ajouter un utilisateur",
    first_name="Prénom",
    last_name="Nom",
    code="Code salarié",
    address="Adresse e-mail",
    mobile="Téléphone mobile",
    approver="Valideur",
    administrator="Administrateur",
    sees_all="tous les documents",
    own_reports="Peut déposer ses propres notes de frais",
    by_email="Par e-mail",
    by_sms="Par SMS",
    later="Inviter plus tard",
    sent_by_email="Envoyée par e-mail",
    sent_by_sms="Envoyée par SMS",
    not_yet="Jamais connecté",
    signed_in="S’est connecté",
    manage="Gérer",
    save="Enregistrer",
    remove="Retirer…",
    remove_now="Retirer",
    needs_mobile="Saisissez un numéro de mobile : cette personne est invitée par SMS.",
    needs_address="Saisissez une adresse e-mail comme jeanne@example.com. Elle est obligatoire",
    needs_role="Choisissez un rôle.",
    taken="Un utilisateur de ce dossier a déjà cette adresse e-mail",
    gone="L’utilisateur est retiré",
)

in_both_languages = pytest.mark.parametrize(
    ("words", "firm", "screen"), [(FRENCH, FR, DESKTOP), (ENGLISH, EN, PHONE)], ids=["french", "english"]
)


async def at_the_desk(stack: Stack, anne: Person, words: Words, firm: Firm) -> Cabinet:
    """Anne works for a firm and signs in: she is where its clients are."""
    cabinet, email = await stack.new_cabinet(phone="+33142685300"), new_address("anne")
    stack.private |= {email, PASSWORD}
    staff = {"email": email, "first_name": "Anne", "last_name": "Léger", "password": PASSWORD}
    path = f"/v1/cabinets/{cabinet.id}/staff"
    (await stack.directory.call("POST", path, json=staff, token=stack.admin_token)).ok(201)
    await anne.page.goto(f"{stack.directory.url}/")
    await anne.page.get_by_label(firm.email).fill(email)
    await anne.page.get_by_label(firm.password).fill(PASSWORD)
    await anne.press(words.sign_in)
    await anne.sees("Clients")
    return cabinet


async def looks(anne: Person) -> None:
    await anne.finds_it_accessible()
    await anne.finds_nothing_cut_off()


def row(anne: Person, name: str) -> Locator:
    return anne.page.get_by_role("row").filter(has_text=name)


async def shows(anne: Person, name: str, *texts: str) -> None:
    """Wait until the list says so of that person; nobody touches the page meanwhile."""
    for text in texts:
        await expect(row(anne, name)).to_contain_text(text)


@in_both_languages
async def test_the_four_steps_by_email_and_by_sms(
    stack: Stack, new_person: NewPerson, words: Words, firm: Firm, screen: ViewportSize
) -> None:
    anne = await new_person(words=words, screen=screen)
    page = anne.page
    cabinet = await at_the_desk(stack, anne, words, firm)
    dossier = await stack.new_dossier(cabinet)
    await page.reload()

    # 1. The client's file, the tab Users, the button Add a user.
    await page.get_by_role("link", name=dossier.name).click()
    await expect(page.get_by_role("link", name=firm.users, exact=True)).to_have_attribute("aria-current", "page")
    await looks(anne)
    await page.get_by_role("link", name=firm.add).click()
    await anne.sees(firm.add)
    await looks(anne)

    # Whoever presses the button too early is told what to do, and nothing that was typed is lost.
    boss = new_address("boss")
    await page.get_by_label(firm.first_name, exact=True).fill("Jeanne")
    await page.get_by_text(firm.by_sms, exact=True).click()
    await anne.press(firm.add)
    await expect(page.get_by_role("alert")).to_contain_text(firm.needs_address)
    await expect(page.get_by_role("alert")).to_contain_text(firm.needs_role)
    await looks(anne)
    await expect(page.get_by_label(firm.first_name, exact=True)).to_have_value("Jeanne")

    # 2. Names and employee code. 3. The role, each explained, and the option. 4. How to invite.
    await page.get_by_label(firm.last_name, exact=True).fill("Martin")
    await page.get_by_label(firm.code).fill("E-17")
    approver = page.locator("label.option").filter(has_text=firm.approver)
    await expect(approver).to_contain_text(firm.sees_all)
    await approver.click()
    await page.get_by_label(firm.own_reports).check()
    await page.get_by_label(firm.address).fill(boss)
    await anne.press(firm.add)
    await expect(page.get_by_role("alert")).to_contain_text(firm.needs_mobile)
    await page.get_by_text(firm.by_email, exact=True).click()
    await anne.press(firm.add)
    await shows(anne, "Jeanne Martin", boss, firm.approver, "E-17", firm.not_yet, firm.sent_by_email)
    await looks(anne)

    # The same person a second time.
    await page.get_by_role("link", name=firm.add).click()
    await page.get_by_label(firm.first_name, exact=True).fill("Jeanne")
    await page.get_by_label(firm.last_name, exact=True).fill("Martin")
    await page.get_by_label(firm.address).fill(boss)
    await page.locator("label.option").filter(has_text=firm.approver).click()
    await anne.press(firm.add)
    await expect(page.get_by_role("alert")).to_contain_text(firm.taken)

    # Somebody by SMS, in the same form.
    phone, employee = new_phone(), new_address("sam")
    await page.get_by_label(firm.first_name, exact=True).fill("Sam")
    await page.get_by_label(firm.last_name, exact=True).fill("Diallo")
    await page.get_by_label(firm.address).fill(employee)
    await page.get_by_label(firm.mobile).fill(phone)
    await page.get_by_text(firm.by_sms, exact=True).click()
    await page.locator("label.option").filter(has_text=firm.administrator).click()
    await anne.press(firm.add)
    await shows(anne, "Sam Diallo", firm.administrator, firm.not_yet, firm.sent_by_sms)

    # Both come in; Anne's list goes from not signed in to signed in by itself.
    await page.evaluate("window.untouched = true")
    guest = await new_person(words=words, screen=PHONE)
    await guest.open_mail(stack.inbox.url, boss, words)
    await guest.choose_password(PASSWORD, words)
    await guest.is_in(stack.directory.url, boss, words)
    await shows(anne, "Jeanne Martin", firm.signed_in)
    other = await new_person(words=words, screen=PHONE)
    await other.page.goto((await stack.text(phone)).link)
    await other.choose_password(PASSWORD, words)
    await other.is_in(stack.directory.url, employee, words)
    await shows(anne, "Sam Diallo", firm.signed_in)
    assert await page.evaluate("window.untouched"), "the page was not loaded anew"
    await looks(anne)


@in_both_languages
async def test_a_client_is_invited_while_the_client_file_is_created(
    stack: Stack, new_person: NewPerson, words: Words, firm: Firm, screen: ViewportSize
) -> None:
    anne = await new_person(words=words, screen=screen)
    page = anne.page
    await at_the_desk(stack, anne, words, firm)
    await page.get_by_role("link", name=firm.new_client).click()
    await looks(anne)
    boss, employee, phone = new_address("boss"), new_address("sam"), new_phone()
    people = (("Jeanne", "Martin", boss, "", firm.by_email), ("Sam", "Diallo", employee, phone, firm.by_sms))
    await page.get_by_label(firm.client_name).fill("Boulangerie Martin")
    for number, (first, last, address, mobile, way) in enumerate(people):
        if number:
            await page.locator("button[name=act][value=more]").click()
            await expect(page.locator("fieldset.person")).to_have_count(number + 1)
        form = page.locator("fieldset.person").nth(number)
        await form.get_by_label(firm.first_name, exact=True).fill(first)
        await form.get_by_label(firm.last_name, exact=True).fill(last)
        await form.get_by_label(firm.address).fill(address)
        await form.get_by_label(firm.mobile).fill(mobile)
        await form.locator("select[name=invite_by]").select_option(label=way)
    # The mobile is missing at first: nothing is created, and everything else stays.
    await page.locator("fieldset.person").nth(1).get_by_label(firm.mobile).fill("")
    await anne.press(firm.create)
    await expect(page.get_by_role("alert")).to_contain_text(firm.needs_mobile)
    await looks(anne)
    await page.locator("fieldset.person").nth(1).get_by_label(firm.mobile).fill(phone)
    await anne.press(firm.create)
    await page.wait_for_url(re.compile(r"/clients/[^/]+/users"))
    await shows(anne, "Jeanne Martin", firm.not_yet, firm.sent_by_email)
    await shows(anne, "Sam Diallo", firm.not_yet, firm.sent_by_sms)
    assert (await stack.mail(boss)).link
    assert (await stack.text(phone)).link


async def test_a_list_that_changes_under_a_click_does_not_lose_it(stack: Stack, new_person: NewPerson) -> None:
    anne = await new_person(words=FRENCH, screen=DESKTOP)
    page = anne.page
    cabinet = await at_the_desk(stack, anne, FRENCH, FR)
    dossier = await stack.new_dossier(cabinet)
    await stack.add_member(cabinet, dossier, first_name="Sam", last_name="Diallo", invite_by="none")
    await page.goto(f"{stack.directory.url}/clients/{dossier.id}")
    await row(anne, "Sam Diallo").get_by_role("button").hover()
    # As long as the button is pressed, others come; the page hears of them and asks for the list.
    await page.mouse.down()
    async with page.expect_response(lambda answer: answer.url == page.url) as asked:
        await stack.add_member(cabinet, dossier, first_name="Jeanne", last_name="Martin")
    await (await asked.value).finished()
    await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    await page.mouse.up()
    await shows(anne, "Sam Diallo", FR.sent_by_email)
    await shows(anne, "Jeanne Martin", FR.sent_by_email)


@in_both_languages
async def test_whoever_was_left_for_later_is_invited_corrected_and_removed(
    stack: Stack, new_person: NewPerson, words: Words, firm: Firm, screen: ViewportSize
) -> None:
    anne = await new_person(words=words, screen=screen)
    page = anne.page
    cabinet = await at_the_desk(stack, anne, words, firm)
    dossier = await stack.new_dossier(cabinet)
    await page.goto(f"{stack.directory.url}/clients/{dossier.id}/users/new")
    wrong, right = new_address("mistyped"), new_address("sam")
    await page.get_by_label(firm.first_name, exact=True).fill("Sam")
    await page.get_by_label(firm.last_name, exact=True).fill("Diallo")
    await page.locator("label.option").filter(has_text=firm.administrator).click()
    await page.get_by_text(firm.later, exact=True).click()
    await page.get_by_label(firm.address).fill(wrong)
    await anne.press(firm.add)
    await expect(row(anne, "Sam Diallo")).not_to_contain_text(firm.sent_by_email)
    assert await stack.mails(wrong) == []

    await row(anne, "Sam Diallo").get_by_role("button").click()
    await shows(anne, "Sam Diallo", firm.sent_by_email)
    first = await stack.mail(wrong)

    await page.get_by_role("link", name=firm.manage).click()
    await looks(anne)
    await page.get_by_label(firm.address).fill(right)
    await anne.press(firm.save)
    corrected = await stack.mail(right)
    guest = await new_person(words=words, screen=PHONE)
    await guest.page.goto(first.link)
    await expect(guest.page.locator("#password")).to_have_count(0)
    await guest.page.goto(corrected.link)
    await expect(guest.page.locator("#password")).to_be_visible()

    await shows(anne, "Sam Diallo", right)
    await page.get_by_role("link", name=firm.manage).click()
    await page.get_by_role("link", name=firm.remove).click()
    await looks(anne)
    await anne.press(firm.remove_now)
    await anne.reads(firm.gone)
    await expect(row(anne, "Sam Diallo")).to_have_count(0)
    await guest.page.reload()
    await expect(guest.page.locator("#password")).to_have_count(0)
    assert (await stack.redeem(corrected.link)).status == 410
    assert (await stack.sign_in(right, PASSWORD)).status == 401
