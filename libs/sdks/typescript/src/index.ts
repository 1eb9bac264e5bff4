/** Everything that the package offers. */

export type { AuditFilter, AuditLog } from "./audit_log.ts";
export type { BaseModels } from "./base_models.ts";
export { BatchRun, type BatchWaitOptions } from "./batch_run.ts";
export type { Batches, BatchFilter, BatchHead, BatchRequest } from "./batches.ts";
export { Imagineo } from "./client.ts";
export * from "./errors.ts";
export type { ChangeEvent, FollowOptions, PreviewEvent, RunEvent } from "./event_stream.ts";
export type { Progress } from "./form.ts";
export type { GenerationFilter, Generations } from "./generations.ts";
export type { InvitationFilter, Invitations } from "./invitations.ts";
export type { KeyFilter, Keys } from "./keys.ts";
export type { MemberFilter, Members } from "./members.ts";
export type { ModelFilter, Models, ModelUpload } from "./models.ts";
export type { components, operations, paths } from "./openapi.ts";
export type { Page } from "./pages.ts";
export * from "./refusals.ts";
export { Run, type RunWaitOptions, type WaitOptions } from "./run.ts";
export type { ClientOptions } from "./settings.ts";
export type { SubmitOptions } from "./submission.ts";
export type { GenerateOptions, PictureSource, UpscaleOptions, VariationsOptions } from "./submitter.ts";
export type { CallOptions } from "./transport.ts";
export type * from "./types.ts";
export type { Uploads } from "./uploads.ts";
export type { UsageFilter, UsageListed, UsageRow } from "./usage.ts";
export { type VerifyOptions, verifyWebhook } from "./verify_webhook.ts";
export type { DeliveryFilter, WebhookFilter, Webhooks } from "./webhooks.ts";
