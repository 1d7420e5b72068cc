// The usual way in Node: each event is done from beginning to end with amqplib, mongodb and nodemailer.
// It is started by `python -m tests.bench.peers.node_usual`, which hands over the templates of the mail.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import amqp from "amqplib";
import { MongoClient } from "mongodb";
import nodemailer from "nodemailer";
import { v5 as uuid5, v4 as uuid4 } from "uuid";
import { z } from "zod";

const env = process.env;
// About the best of 16 messages over 4 connections, 32/8, 64/16 and 128/32, on two cores.
const MESSAGES_AT_A_TIME = Number(env.BENCH_PREFETCH ?? 32);
const SMTP_CONNECTIONS = Number(env.BENCH_CONNECTIONS ?? 8);
const LINK_LIFE = 14 * 24 * 3600 * 1000;
const DUPLICATE_KEY = 11000;

// What the peers have in common: names, words, layout, indexes.
const usual = JSON.parse(readFileSync(env.BENCH_MAIL, "utf8"));

const UserCreated = z.object({
  specversion: z.literal("1.0"),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string(),
  time: z.iso.datetime({ offset: true }),
  sequence: z.coerce.number().int().nullish(),
  correlationid: z.string().nullish(),
  data: z.object({
    member: z.object({
      id: z.uuid(),
      first_name: z.string().min(1).max(100),
      last_name: z.string().min(1).max(100),
      employee_code: z.string().nullable().default(null),
      email: z.email(),
      phone: z.string().nullable().default(null),
      locale: z.string().default("fr"),
      time_zone: z.string().default("Europe/Paris"),
      role: z.enum(["expense_approver", "standard_user", "administrator"]).default("standard_user"),
      own_expense_reports: z.boolean().default(false),
    }),
    dossier: z.object({
      id: z.uuid(),
      name: z.string().min(1).max(100),
      external_ref: z.string().nullable().default(null),
    }),
    cabinet: z.object({
      id: z.uuid(),
      name: z.string().min(1).max(100),
      phone: z.string().nullable().default(null),
    }),
    invite_by: z.enum(["email", "sms", "none"]).default("email"),
    invited_by: z.string().nullable().default(null),
  }),
});

// --- the mail ----------------------------------------------------------------------------------------------------

// A template is compiled once: its fixed pieces, and the names of the slots between them.
function compile(template, escaped) {
  const pieces = template.split(/\[\[(\w+)\]\]/);
  return (values) =>
    pieces.map((piece, place) => (place % 2 ? (escaped ? escapeHtml(values[piece]) : values[piece]) : piece)).join("");
}

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;" };

function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

const languages = Object.fromEntries(
  Object.entries(usual.languages).map(([locale, { text, html, sentences }]) => [
    locale,
    {
      text: compile(text, false),
      html: compile(html, true),
      say: Object.fromEntries(Object.entries(sentences).map(([name, sentence]) => [name, compile(sentence, false)])),
    },
  ]),
);

const linkKey = env.CONVIVE_LINK_KEYS.split(",")[0];

function link(id) {
  const payload = Buffer.from(JSON.stringify([id, 1])).toString("base64url");
  return `${env.CONVIVE_INVITATION_URL}/i/${payload}.${createHmac("sha1", linkKey).update(payload).digest("base64url")}`;
}

const twoDigits = (number) => String(number).padStart(2, "0");

function moment(at) {
  const day = `${twoDigits(at.getUTCDate())}/${twoDigits(at.getUTCMonth() + 1)}/${at.getUTCFullYear()}`;
  return `${day} ${twoDigits(at.getUTCHours())}:${twoDigits(at.getUTCMinutes())}`;
}

function mail(event, id, expiresAt) {
  const { member, dossier, cabinet, invited_by } = event.data;
  const locale = member.locale === "en" ? "en" : "fr";
  const { text, html, say } = languages[locale];
  const names = {
    first_name: member.first_name,
    dossier: dossier.name,
    cabinet: cabinet.name,
    phone: cabinet.phone,
    person: invited_by,
  };
  const may = say[`may_${member.role}`](names);
  const said = {
    subject: say.subject(names),
    greeting: say.greeting(names),
    opening: (invited_by ? say.opening_by : say.opening)(names),
    role: say[`role_${member.role}`](names),
    may: member.own_expense_reports ? `${may} ${say.own_expenses(names)}` : may,
    contact: (cabinet.phone ? say.contact_by_phone : say.contact)(names),
    sent_by: say.sent_by(names),
    cabinet: cabinet.name,
    link: link(id),
    until: moment(expiresAt),
  };
  return {
    from: { name: say.sender(names), address: usual.from },
    to: { name: `${member.first_name} ${member.last_name}`, address: member.email },
    subject: said.subject,
    messageId: `<${id}.1@convive.example>`,
    headers: {
      "Content-Language": locale,
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
    },
    text: text(said),
    html: html(said),
  };
}

// --- from the event to `sent` ------------------------------------------------------------------------------------

const mongo = new MongoClient(env.CONVIVE_MONGO_URL, { writeConcern: { w: "majority" } });
await mongo.connect();
const database = mongo.db(env.CONVIVE_INVITATION_DATABASE);
const invitations = database.collection(usual.collection);
await database.command({ createIndexes: usual.collection, indexes: usual.indexes });

const transport = nodemailer.createTransport({
  pool: true,
  host: env.CONVIVE_SMTP_HOST,
  port: Number(env.CONVIVE_SMTP_PORT),
  secure: false,
  ignoreTLS: true,
  maxConnections: SMTP_CONNECTIONS,
  maxMessages: Infinity,
});

const connection = await amqp.connect(env.CONVIVE_AMQP_URL);
const consuming = await connection.createChannel();
const publishing = await connection.createConfirmChannel();
await consuming.prefetch(MESSAGES_AT_A_TIME);

function publish(id, event) {
  return new Promise((resolve, reject) => {
    publishing.publish(
      usual.exchange,
      usual.routing_key,
      Buffer.from(JSON.stringify(event)),
      { persistent: true, contentType: usual.content_type, messageId: id },
      (error) => (error ? reject(error) : resolve()),
    );
  });
}

async function userCreated(event) {
  const { member, dossier, cabinet, invite_by } = event.data;
  const id = uuid5(event.subject, uuid5(event.source, uuid5.URL));
  const now = new Date();
  const expiresAt = new Date(now.getTime() + LINK_LIFE);
  try {
    await invitations.insertOne({
      _id: id,
      source: event.source,
      created_at: now,
      updated_at: now,
      version: 1,
      state: "pending",
      channel: invite_by,
      link_sequence: 1,
      send_sequence: 1,
      expires_at: expiresAt,
      due_at: new Date(now.getTime() + 60_000),
      announced: true,
      member: { ...member, email_key: member.email.toLowerCase() },
      dossier,
      cabinet,
      history: [{ at: now, trigger: "created", to: "pending", event_id: event.id }],
    });
  } catch (error) {
    if (error.code !== DUPLICATE_KEY) throw error;
    const known = await invitations.findOne({ _id: id }, { projection: { state: 1 } });
    if (known?.state !== "pending") return;
  }

  await transport.sendMail(mail(event, id, expiresAt));

  const sentAt = new Date();
  await invitations.updateOne(
    { _id: id, state: "pending" },
    {
      $set: { state: "sent", version: 2, updated_at: sentAt, due_at: expiresAt },
      $push: { history: { at: sentAt, trigger: "accepted", from: "pending", to: "sent" } },
    },
  );
  await publish(`${id}.2`, {
    specversion: "1.0",
    id: `${id}.2`,
    source: "/convive/invitation",
    type: "convive.invitation.sent.v1",
    subject: member.id,
    time: sentAt,
    datacontenttype: "application/json",
    sequence: "2",
    correlationid: event.correlationid ?? uuid4(),
    data: {
      invitation_id: id,
      member_id: member.id,
      dossier_id: dossier.id,
      cabinet_id: cabinet.id,
      state: "sent",
      version: 2,
      channel: invite_by,
      link_sequence: 1,
      send_sequence: 1,
      expires_at: expiresAt,
      reason: null,
    },
  });
}

// --- taking events until told to stop ----------------------------------------------------------------------------

const inHand = new Set();

async function taken(message) {
  try {
    await userCreated(UserCreated.parse(JSON.parse(message.content.toString())));
    consuming.ack(message);
  } catch (error) {
    console.error(error);
    consuming.nack(message);
  }
}

const { consumerTag } = await consuming.consume(usual.queue, (message) => {
  if (message === null) return;
  const work = taken(message).finally(() => inHand.delete(work));
  inHand.add(work);
});

process.once("SIGTERM", async () => {
  await consuming.cancel(consumerTag);
  await Promise.all(inHand);
  await connection.close();
  transport.close();
  await mongo.close();
});
