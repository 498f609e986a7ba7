/** Every command and how it is decided, every stream and how it is folded. A command or stream without an entry does not compile. */
import type { Command } from './commands.js';
import type { Handler } from './decision.js';
import type { Fact } from './facts.js';
import {
  addCartHandler,
  baselineListingsHandler,
  changeCartHandler,
  decidePushHandler,
  discardRecordsHandler,
  evolveCart,
  evolveSystem,
  heedUnknownSkuHandler,
  ignoreUnknownSkuHandler,
  initialCart,
  initialSystem,
  mapListingsHandler,
  meetUnknownSkusHandler,
  recordProbeHandler,
  seeScriptVersionHandler,
  switchCartHandler,
  switchSystemHandler,
} from './cart.js';
import {
  addLocationHandler,
  changeLocationHandler,
  changeItemHandler,
  createItemHandler,
  evolveItem,
  evolveLocation,
  initialItem,
  initialLocation,
  saveItemHandler,
} from './item.js';
import { evolveOrder, importOrderHandler, initialOrder, resolveOrderLinesHandler } from './order.js';
import { evolveKit, evolveKits, initialKit, initialKits, removeKitHandler, setKitHandler } from './kit-composition.js';
import { finishOrderHandler } from './order-progress.js';
import {
  evolveResetSource,
  initialResetSource,
  removeResetSourceHandler,
  saveResetSourceHandler,
} from './reset-source.js';
import {
  closeDayHandler,
  evolveCalendar,
  evolveRuleSet,
  initialCalendar,
  initialRuleSet,
  removeRuleHandler,
  restoreRuleHandler,
  saveRuleHandler,
} from './rule-set.js';
import { countHandler, evolveStock, initialStock, stockHandler } from './stock-item.js';
import type { StreamName } from './streams.js';
import { evolveTransfer, initialTransfer, receiveTransferHandler, shipTransferHandler } from './transfer.js';

type CommandTable = { readonly [T in Command['type']]: Handler<Extract<Command, { type: T }>> };

export const commandTable: CommandTable = {
  ReceiveStock: stockHandler,
  SellStock: stockHandler,
  ReturnStock: stockHandler,
  AdjustStock: stockHandler,
  CountStock: countHandler,
  ResetStock: countHandler,
  ShipTransfer: shipTransferHandler,
  ReceiveTransfer: receiveTransferHandler,
  ImportOrder: importOrderHandler,
  ResolveOrderLines: resolveOrderLinesHandler,
  ShipOrder: finishOrderHandler,
  FillOrder: finishOrderHandler,
  CloseOrder: finishOrderHandler,
  CreateItem: createItemHandler,
  ChangeItem: changeItemHandler,
  SaveItem: saveItemHandler,
  AddLocation: addLocationHandler,
  ChangeLocation: changeLocationHandler,
  AddCart: addCartHandler,
  ChangeCart: changeCartHandler,
  SwitchCart: switchCartHandler,
  RecordProbe: recordProbeHandler,
  SeeScriptVersion: seeScriptVersionHandler,
  MapListings: mapListingsHandler,
  BaselineListings: baselineListingsHandler,
  DiscardRecords: discardRecordsHandler,
  DecidePush: decidePushHandler,
  MeetUnknownSkus: meetUnknownSkusHandler,
  IgnoreUnknownSku: ignoreUnknownSkuHandler,
  HeedUnknownSku: heedUnknownSkuHandler,
  SaveRule: saveRuleHandler,
  RemoveRule: removeRuleHandler,
  RestoreRule: restoreRuleHandler,
  SetKit: setKitHandler,
  RemoveKit: removeKitHandler,
  CloseDay: closeDayHandler,
  SaveResetSource: saveResetSourceHandler,
  RemoveResetSource: removeResetSourceHandler,
  SwitchSystem: switchSystemHandler,
};

/** The handler of a command whose type is only known at run time; the table's type guarantees that they fit. */
export const handlerOf = (command: Command) => commandTable[command.type] as Handler<Command>;

/**
 * Every stream that deciding the command locks, the one an expected version speaks of first.
 * @param stateOf folded state of a stream, null where nothing has happened; an order's or transfer's stock streams depend on it
 */
export function streamsOf(command: Command, stateOf: (stream: StreamName) => unknown = () => null): StreamName[] {
  const handler = handlerOf(command);
  return [...new Set([...handler.streams(command), ...(handler.stockStreams?.(command, stateOf) ?? [])])];
}

interface Aggregate {
  readonly initial: unknown;
  readonly evolve: (state: never, fact: Fact, version: string) => unknown;
}

/** By the first part of the stream's name. */
const aggregates: Readonly<Record<string, Aggregate>> = {
  stock: { initial: initialStock, evolve: evolveStock },
  order: { initial: initialOrder, evolve: evolveOrder },
  transfer: { initial: initialTransfer, evolve: evolveTransfer },
  item: { initial: initialItem, evolve: evolveItem },
  location: { initial: initialLocation, evolve: evolveLocation },
  cart: { initial: initialCart, evolve: evolveCart },
  kit: { initial: initialKit, evolve: evolveKit },
  kits: { initial: initialKits, evolve: evolveKits },
  rules: { initial: initialRuleSet, evolve: evolveRuleSet },
  calendar: { initial: initialCalendar, evolve: evolveCalendar },
  'reset-source': { initial: initialResetSource, evolve: evolveResetSource },
  system: { initial: initialSystem, evolve: evolveSystem },
};

/**
 * The state of a stream after one more fact.
 * @param state null before the first fact
 * @param version of the fact in its stream
 * @throws Error for a stream whose kind nobody folds, which is a fault in the program
 */
export function evolveStream(stream: string, state: unknown, fact: Fact, version: string): unknown {
  const kind = stream.split(':', 1)[0] ?? '';
  const aggregate = aggregates[kind];
  if (aggregate === undefined) throw new Error(`No aggregate folds the stream ${stream}`);
  return aggregate.evolve((state ?? aggregate.initial) as never, fact, version);
}
