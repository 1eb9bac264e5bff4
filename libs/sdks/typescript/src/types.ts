/** The names of requests and answers. Every one is generated from `/openapi.json`; their fields are named as on the wire. */

import type { components } from "./openapi.ts";

type Schemas = components["schemas"];

export type AuditEntry = Schemas["AuditEntry"];
export type BaseModel = Schemas["BaseModel"];
export type Batch = Schemas["Batch"];
export type BatchItem = Schemas["BatchItem"];
export type BatchResult = Schemas["BatchResult"];
export type BatchSubmission = Schemas["BatchSubmission"];
export type BatchSubmitted = Schemas["BatchSubmitted"];
export type BatchSweep = Schemas["BatchSweep"];
export type Delivery = Schemas["Delivery"];
export type DryRun = Schemas["DryRun"];
export type ErrorCode = Schemas["ErrorCode"];
export type Generation = Schemas["Generation"];
export type Invitation = Schemas["Invitation"];
export type InvitationRequest = Schemas["InvitationRequest"];
export type Key = Schemas["Key"];
export type KeyRequest = Schemas["KeyRequest"];
export type Limits = Schemas["Limits"];
export type LoraReport = Schemas["LoraReport"];
export type Manifest = Schemas["Manifest"];
export type Member = Schemas["Member"];
export type Model = Schemas["Model"];
export type ModelChange = Schemas["ModelChange"];
export type ModelCheck = Schemas["ModelCheck"];
export type NewInvitation = Schemas["NewInvitation"];
export type NewKey = Schemas["NewKey"];
export type NewWebhook = Schemas["NewWebhook"];
export type Organization = Schemas["Organization"];
export type OrganizationChange = Schemas["OrganizationChange"];
export type Parameters = Schemas["Parameters"];
export type Preview = Schemas["Preview"];
export type Replay = Schemas["Replay"];
export type ReplayRequest = Schemas["ReplayRequest"];
export type Rotation = Schemas["Rotation"];
export type SigningSecret = Schemas["SigningSecret"];
export type Source = Schemas["Source"];
export type Submission = Schemas["Submission"];
export type Submitted = Schemas["Submitted"];
export type SubmittedSeveral = Schemas["SubmittedSeveral"];
export type Upload = Schemas["Upload"];
export type Upscale = Schemas["Upscale"];
export type UpscaleOfRun = Schemas["UpscaleOfRun"];
export type Usage = Schemas["Usage"];
export type Variations = Schemas["Variations"];
export type VariationsOfRun = Schemas["VariationsOfRun"];
export type Webhook = Schemas["Webhook"];
export type WebhookChange = Schemas["WebhookChange"];
export type WebhookRequest = Schemas["WebhookRequest"];
/** What a webhook receives. */
export type WebhookEvent = Schemas["Event"];
/** What a member may do. */
export type Role = Member["role"];
/** Where a run stands. */
export type RunStatus = Generation["status"];
