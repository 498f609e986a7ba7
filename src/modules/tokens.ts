/**
 * Injection tokens of what has no class at run time. Everything that has one (CommandBatcher, Projector, LaneControl …)
 * is injected by its class.
 */
export const CONFIG = Symbol('Config');
export const DATABASE = Symbol('Database');
export const QUEUE_BACKEND = Symbol('QueueBackend');
/** 32 bytes: encrypts the carts' secrets and signs the browser sessions. */
export const ENCRYPTION_KEY = Symbol('EncryptionKey');
